import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startControllers } from "../../localkube/controllers/controllers.ts";
import { makeImageTable, parseImageRules } from "../../localkube/kubelet/images.ts";
import { type Kubelet, type KubeletSettings, startKubelet } from "../../localkube/kubelet/kubelet.ts";
import { asPod, type Pod, type PodSpec } from "../../localkube/kubelet/pod.ts";
import { identify } from "../../localkube/kubelet/shim/process-identity.ts";
import type { RunningPart } from "../../localkube/part.ts";
import type { KubeObject } from "../../localkube/store/kube-object.ts";
import type { Store } from "../../localkube/store/store.ts";
import { openStore } from "./open-store.ts";

/**
 * Server: `server.mjs <address> <port>` answers with its pid, environment and folder; `/fail` makes it unready, `/hang` makes it
 * stop answering, `/exit?<code>` ends it, `/eat` takes memory.
 */
const SERVER = `
import { createServer } from "node:http";
const [address, port, delay = "0"] = process.argv.slice(2);
let ready = true, hanging = false;
const kept = [];
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://pod");
  if (hanging) return;
  if (url.pathname === "/fail") ready = false;
  if (url.pathname === "/recover") ready = true;
  if (url.pathname === "/hang") hanging = true;
  if (url.pathname === "/exit") process.exit(Number(url.search.slice(1)));
  if (url.pathname === "/eat") setInterval(() => kept.push(Buffer.alloc(16 << 20, 1)), 5);
  if (url.pathname === "/healthz") { response.statusCode = ready ? 200 : 503; response.end(); return; }
  response.end(JSON.stringify({ pid: process.pid, env: process.env, cwd: process.cwd() }));
});
process.on("SIGTERM", () => { console.log("got SIGTERM"); server.close(); setTimeout(() => process.exit(0), Number(process.env.LINGER ?? 0)); });
setTimeout(() => server.listen(Number(port), address, () => console.log("listening")), Number(delay));
`;

export interface Node {
  home: string;
  store: Store;
  kubelet: Kubelet;
  logs: string[];
  pod(name: string): Pod | undefined;
  createPod(
    name: string,
    spec: Partial<PodSpec> & Pick<PodSpec, "containers">,
    metadata?: object,
  ): Promise<Pod>;
  /** What the API holds of a kind, in the default namespace. */
  list(resource: string): KubeObject[];
  events(name: string): string[];
  /** What a container of a pod has written. */
  log(pod: string, container?: string): Promise<string>;
  /** Asks a pod's server. */
  ask(pod: string, path?: string): Promise<Response>;
  /** Stops kubelet (and controllers) and starts them anew on the same store. */
  restartKubelet(settings?: Partial<KubeletSettings>): Promise<void>;
  close(): Promise<void>;
}

export async function until<T>(
  what: () => T | undefined | false | Promise<T | undefined | false>,
  ms = 60_000,
): Promise<T> {
  const endMs = Date.now() + ms;
  for (;;) {
    const value = await what();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > endMs) throw new Error(`not within ${ms} ms: ${what.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function isReady(pod: Pod | undefined): boolean {
  return pod?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

async function makeDefaultNamespace(store: Store): Promise<void> {
  if (store.get("namespaces", undefined, "default")) return;
  await store.create("namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
}

/** A store, a kubelet and, if wanted, the controllers, all in this process; pods are real processes. */
export async function openNode(
  given: Partial<KubeletSettings> & { controllers?: boolean } = {},
): Promise<Node> {
  const { controllers = false, ...overrides } = given;
  const home = mkdtempSync(join(tmpdir(), "node-"));
  mkdirSync(join(home, "db"));
  const program = join(home, "server.mjs");
  writeFileSync(program, SERVER);
  const images = makeImageTable(
    parseImageRules({
      images: [
        {
          match: "server:*",
          command: [process.execPath, program, "${POD_IP}", "${PORT}"],
          env: { TABLE: "${ROOT}" },
        },
        { match: "slow-server:*", command: [process.execPath, program, "${POD_IP}", "${PORT}", "1500"] },
        { match: "sh", command: ["/bin/sh", "-c"], containerCommand: "append" },
        { match: "tool", command: ["/bin/echo", "entry"], containerCommand: "replace" },
        { match: "fixed", command: ["/bin/sleep", "1000"] },
        { match: "broken", command: ["/no/such/program"] },
      ],
    }),
  );
  const { store, close } = await openStore(join(home, "db"));
  await makeDefaultNamespace(store);
  const logs: string[] = [];
  const log = (message: string): void => void logs.push(message);
  const settings: KubeletSettings = {
    nodeName: "local",
    stateDir: home,
    images,
    podCidr: "127.64.0.0/10",
    life: identify(process.pid),
    podsOutliveStop: true,
    backoff: { initialMs: 100, maxMs: 800, resetAfterMs: 600_000 },
    ...overrides,
  };
  let running: RunningPart | undefined;
  const startParts = async (more: Partial<KubeletSettings> = {}): Promise<Kubelet> => {
    if (controllers) running = await startControllers(store, { nodeName: "local", version: "v1.34.0" }, log);
    return startKubelet(store, { ...settings, ...more }, log);
  };
  const node: Node = {
    home,
    store,
    logs,
    kubelet: await startParts(),
    pod: (name) => {
      const object = store.get("pods", "default", name);
      return object && asPod(object);
    },
    async createPod(name, spec, metadata = {}) {
      const object = {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: "default", ...metadata },
        spec,
      };
      return asPod(await store.create("pods", object));
    },
    list: (resource) => store.list(resource, { namespace: "default" }).items,
    events: (name) =>
      store.list("events", { namespace: "default" }).items.flatMap((event) => {
        const involved = event["involvedObject"];
        const isIts =
          typeof involved === "object" && involved !== null && "name" in involved && involved.name === name;
        return isIts ? [`${String(event["reason"])}: ${String(event["message"])}`] : [];
      }),
    async log(name, container = "main") {
      const pod = store.get("pods", "default", name);
      if (!pod) throw new Error(`there is no pod "${name}"`);
      const options = { container, follow: false, previous: false, timestamps: false };
      let text = "";
      for await (const chunk of await node.kubelet.logs.open(pod, options, new AbortController().signal)) {
        text += Buffer.from(chunk).toString("utf8");
      }
      return text;
    },
    ask: (name, path = "/") => fetch(`http://${node.pod(name)?.status?.podIP ?? ""}:8888${path}`),
    async restartKubelet(more = {}) {
      await node.kubelet.stop();
      await running?.stop();
      node.kubelet = await startParts(more);
    },
    async close() {
      await node.restartKubelet({ podsOutliveStop: false });
      await node.kubelet.stop();
      await running?.stop();
      await close();
      rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
  return node;
}

/** A container of the test server, with a quick readiness probe. */
export function serverContainer(more: object = {}): PodSpec["containers"][number] {
  return {
    name: "main",
    image: "server:1",
    ports: [{ containerPort: 8888 }],
    readinessProbe: { httpGet: { path: "/healthz", port: 8888 }, periodSeconds: 1 },
    ...more,
  };
}
