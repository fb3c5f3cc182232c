import { createHash } from "node:crypto";
import { Agent } from "undici";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { COMPONENTS } from "../../api/components.ts";
import { HEADER_POD, HEADER_REVISION } from "../../api/headers.ts";
import { SPECIALIZE_CONTENT_TYPE, type SpecializeRequest } from "../../api/wire/specialize.ts";
import { builderPodTemplate } from "../../engine/builder/builder-pod.ts";
import { sendBuild } from "../../engine/builder/send-build.ts";
import { podManifest, podTemplate } from "../../engine/executor/pod-manifest.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import type { BuiltImage } from "../../scripts/images/build-images.ts";
import { currentCluster } from "./cluster.ts";
import { platformImages } from "./platform-images.ts";
import { podsAreTaken } from "./pods-are-taken.ts";

const TIMEOUT = { timeout: 90_000, interval: 100 };
const TOKEN = "a-token-for-this-test-only";

const Pod = z.looseObject({
  metadata: z.looseObject({ name: z.string(), uid: z.string() }),
  status: z.looseObject({
    phase: z.string(),
    podIP: z.string().optional(),
    conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).optional(),
    containerStatuses: z.array(z.looseObject({ state: z.unknown() })).optional(),
  }),
});
type Pod = z.infer<typeof Pod>;

/** Each image in a real pod, in a namespace that takes restricted pods only. */
describe("images in restricted pods", () => {
  let kube: KubeClient;
  let namespace = "";
  let images: readonly BuiltImage[];
  beforeAll(async () => {
    const cluster = currentCluster();
    images = await platformImages(cluster, () => undefined);
    kube = await createKubeClient({ kubeconfig: cluster.kubeconfig });
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    const made = await kube.request({
      method: "POST",
      path: "/api/v1/namespaces",
      body: { metadata: { generateName: "images-", labels } },
    });
    namespace = z.looseObject({ metadata: z.looseObject({ name: z.string() }) }).parse(made).metadata.name;
    await podsAreTaken(kube, namespace);
  }, 300_000);
  afterAll(async () => {
    await kube.request({ method: "DELETE", path: `/api/v1/namespaces/${namespace}` });
    await kube.close();
  });

  const ref = (name: string): string => images.find((image) => image.name === name)?.ref ?? "";
  const pods = (name = ""): string => `/api/v1/namespaces/${namespace}/pods${name === "" ? "" : `/${name}`}`;
  const read = async (name: string): Promise<Pod> =>
    Pod.parse(await kube.request({ method: "GET", path: pods(name) }));
  const create = async (name: string, spec: unknown): Promise<Pod> => {
    const body = { metadata: { name }, spec };
    return Pod.parse(await kube.request({ method: "POST", path: pods(), body }));
  };
  const untilReady = (name: string): Promise<Pod> =>
    vi.waitFor(async () => {
      const pod = await read(name);
      const ready = pod.status.conditions?.find(({ type }) => type === "Ready")?.status;
      expect([ready, pod.status.containerStatuses?.[0]?.state]).toEqual(["True", expect.anything()]);
      return pod;
    }, TIMEOUT);
  const addressOf = (pod: Pod, port: number): string => `http://${pod.status.podIP}:${port}`;

  /** A pod of one container with everything that Pod Security asks for; writable is `/tmp` alone. */
  const restricted = (container: object): object => ({
    restartPolicy: "Never",
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 1,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    volumes: [{ name: "tmp", emptyDir: {} }],
    containers: [
      {
        name: "main",
        volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
        resources: { requests: { cpu: "10m", memory: "32Mi" } },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
        ...container,
      },
    ],
  });

  it("isotope runs every component: each tells its settings and ends with 0", async () => {
    // Without `runAsUser` in the spec: the image's own user is a number and not root, or the pod would not start.
    for (const { name } of COMPONENTS)
      await create(`help-${name}`, restricted({ image: ref("isotope"), args: [name, "--help"] }));
    for (const { name } of COMPONENTS)
      await vi.waitFor(
        async () => expect((await read(`help-${name}`)).status.phase).toBe("Succeeded"),
        TIMEOUT,
      );
  });

  it("fetcher answers its health", async () => {
    const env = [
      { name: "ISOTOPE_POD_TOKEN", value: TOKEN },
      { name: "ISOTOPE_POD_UID", valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } },
    ];
    const readinessProbe = { tcpSocket: { port: 8000 }, periodSeconds: 1 };
    await create("fetcher", restricted({ image: ref("fetcher"), env, readinessProbe }));
    const pod = await untilReady("fetcher");
    expect((await fetch(`${addressOf(pod, 8000)}/_isotope/healthz`)).status).toBeLessThan(504);
  });

  it("deno-env as the executor makes it: specialised once, with its secrets, and nothing else in reach", async () => {
    const environment = {
      metadata: { name: "deno", namespace, uid: "none" },
      spec: { version: 3, runtime: { image: ref("deno-env") } },
    };
    const manifest = podManifest(environment, podTemplate(environment), "deno", TOKEN);
    await create("deno", manifest.spec);
    const pod = await untilReady("deno");
    const address = addressOf(pod, 8888);
    const message = specializeMessage(pod.metadata.uid, namespace, PROBES);
    expect((await postSpecialize(address, message, "wrong")).status).toBe(401);
    const reply = await postSpecialize(address, message, TOKEN);
    expect([reply.status, await reply.text()]).toEqual([200, expect.any(String)]);
    expect((await postSpecialize(address, message, TOKEN)).status).toBe(409);
    const headers = { [HEADER_POD]: pod.metadata.uid, [HEADER_REVISION]: "rev-1" };
    const found = await (await fetch(`${address}/`, { headers })).json();
    expect(found).toEqual({
      secret: "s3cret",
      config: "value",
      variable: "blue",
      writeTmp: "allowed",
      writeRoot: "NotCapable",
      writeApp: "NotCapable",
      writeSecret: "NotCapable",
      readToken: "NotCapable",
      readEnviron: "NotCapable",
      run: "NotCapable",
      leaks: [],
    });
    const stranger = await fetch(`${address}/`, { headers: { ...headers, [HEADER_POD]: "other" } });
    expect(stranger.status).toBe(421);
  });

  it("builder as the builder manager makes it: bundles a function", async () => {
    const environment = {
      apiVersion: "fission.io/v1" as const,
      kind: "Environment" as const,
      metadata: { name: "deno", namespace },
      spec: { version: 3, runtime: { image: ref("deno-env") }, builder: { image: ref("builder") } },
    };
    const { spec } = builderPodTemplate(environment, ref("fetcher"));
    await create("builder", withToken(spec));
    const pod = await untilReady("builder");
    const source = Buffer.from(
      "const who: string = 'pod';\nexport default () => new Response(`hello ${who}`);\n",
    );
    const dispatcher = new Agent();
    const log: string[] = [];
    const result = await sendBuild({
      dispatcher,
      origin: addressOf(pod, 8001),
      token: TOKEN,
      request: {
        namespace,
        package: "hello",
        source: { sha256: sha256(source), sizeBytes: source.length, filename: "hello.ts" },
        command: "",
        entry: "",
        typeCheck: true,
        timeoutMs: 60_000,
      },
      source,
      onLog: (line) => log.push(line),
      signal: AbortSignal.timeout(90_000),
      maxArtifactBytes: 2 ** 20,
    });
    await dispatcher.close();
    expect([result, log.join("\n")]).toMatchObject([
      { kind: "result", result: { outcome: "succeeded" } },
      /types checked/,
    ]);
  });
});

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** What the function tries in its pod. */
const PROBES = `
export default async () => {
  const found = {};
  const attempt = async (name, action) => {
    found[name] = await Promise.resolve().then(action).then(() => "allowed", (error) => error.name);
  };
  found.secret = await Deno.readTextFile(Deno.env.get("ISOTOPE_SECRETS_DIR") + "/db/password");
  found.config = await Deno.readTextFile(Deno.env.get("ISOTOPE_CONFIGS_DIR") + "/settings/key");
  found.variable = Deno.env.get("COLOUR");
  await attempt("writeTmp", () => Deno.writeTextFile(Deno.env.get("TMPDIR") + "/x", "x"));
  await attempt("writeRoot", () => Deno.writeTextFile("/evil", "x"));
  await attempt("writeApp", () => Deno.writeTextFile("/app/evil.js", "x"));
  await attempt("writeSecret", () => Deno.writeTextFile(Deno.env.get("ISOTOPE_SECRETS_DIR") + "/db/x", "x"));
  await attempt("readToken", () => Deno.readTextFile("/var/run/secrets/kubernetes.io/serviceaccount/token"));
  await attempt("readEnviron", () => Deno.readTextFile("/proc/self/environ"));
  await attempt("run", () => new Deno.Command("/usr/local/bin/deno").output());
  found.leaks = Object.keys(Deno.env.toObject()).filter((name) => /TOKEN|KUBERNETES|_SERVICE_/.test(name));
  return Response.json(found);
};
`;

function specializeMessage(podUid: string, namespace: string, code: string): Buffer<ArrayBuffer> {
  const archive = Buffer.from(code);
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const request: SpecializeRequest = {
    podUid,
    revision: "rev-1",
    function: { namespace, name: "probes", uid: "fn-uid", resourceVersion: "1" },
    functionName: "",
    archive: { sha256: sha256(archive), sizeBytes: archive.length },
    env: { COLOUR: "blue" },
    secrets: [{ namespace, name: "db", data: { password: base64("s3cret") } }],
    configMaps: [{ namespace, name: "settings", data: { key: base64("value") } }],
    limits: { requestsPerPod: 10, onceOnly: false, timeoutMs: 10_000, maxBodyBytes: 1 << 20 },
    debug: false,
  };
  const head = Buffer.from(JSON.stringify(request));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, archive]);
}

const postSpecialize = (address: string, body: Buffer<ArrayBuffer>, token: string): Promise<Response> =>
  fetch(`${address}/v2/specialize`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": SPECIALIZE_CONTENT_TYPE },
    body,
  });

const Containers = z.object({ containers: z.array(z.looseObject({ env: z.array(z.unknown()) })) });

/** The builder manager gives each pod a token of its own; here it is the test's. */
function withToken(spec: Record<string, unknown>): Record<string, unknown> {
  const { containers } = Containers.parse(spec);
  const token = { name: "ISOTOPE_POD_TOKEN", value: TOKEN };
  return { ...spec, containers: containers.map((one) => ({ ...one, env: [...one.env, token] })) };
}
