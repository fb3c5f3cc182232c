import Fastify from "fastify";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  LABEL_FUNCTION_NAME,
  LABEL_FUNCTION_UID,
  LABEL_MANAGED_BY,
  LABEL_REVISION,
  MANAGED_BY,
} from "../../api/names.ts";
import { PlatformError } from "../../api/errors.ts";
import { AcquireRequest, ANNOTATION_REQUESTS_PER_POD, SuspectReport } from "../../api/wire/executor.ts";
import { createRouter, type Router } from "../../engine/router/router.ts";
import { ROUTER_SETTINGS, type RouterSettings } from "../../engine/router/settings.ts";
import { createKubeClient } from "../../kube/client.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { keyRing } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { metricsRegistry } from "../../net/metrics.ts";
import { parseSettings } from "../../net/settings.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { freePortBase } from "../e2e/free-ports.ts";
import { type FakeKube, startFakeKube } from "./fake-kube.ts";
import { type FakePod, startFakePod } from "./fake-pod.ts";

export const MASTER_KEY = "test-master-key-of-the-router-tests-0123456789";
export const keys = keyRing([MASTER_KEY]);

interface FunctionOptions {
  namespace?: string;
  name?: string;
  uid?: string;
  revision?: string;
  requestsPerPod?: number;
  concurrency?: number;
  onceOnly?: boolean;
  timeoutMs?: number;
  maxBodyBytes?: number;
  streaming?: { idleTimeoutMs: number; maxDurationMs: number };
}

/** The executor as a router sees it: it makes pods on demand, within `concurrency`, and can be slow, failing or gone. */
interface FakeExecutor {
  readonly origin: string;
  acquires: AcquireRequest[];
  suspects: SuspectReport[];
  /** Runs before each acquire; throw to refuse. */
  before: (request: AcquireRequest) => Promise<void> | void;
  /** Pods of each revision. */
  pods: Map<string, FakePod[]>;
  publishSlices: boolean;
  down(): Promise<void>;
  up(): Promise<void>;
}

export interface World {
  readonly kube: FakeKube;
  readonly executor: FakeExecutor;
  readonly log: string[];
  deploy(options?: FunctionOptions): void;
  undeploy(namespace: string, name: string): void;
  /** Publishes a version of a function; `revision` is what it serves. */
  version(version: string, options?: FunctionOptions & { ready?: boolean }): void;
  /** Points an alias of function "hello" (or another one) somewhere. */
  alias(name: string, spec: Record<string, unknown>, annotations?: Record<string, string>): void;
  trigger(name: string, spec: Record<string, unknown>, metadata?: Record<string, unknown>): void;
  /** A pod that exists and is published, without any acquire. */
  pod(options?: FunctionOptions & { host?: string; port?: number }): Promise<FakePod>;
  publish(uid: string, revision: string): void;
  router(settings?: Partial<RouterSettings>): Promise<RunningRouter>;
  /** Waits until `condition` holds; throws after 30 s. */
  until(condition: () => boolean | Promise<boolean>, what?: string): Promise<void>;
  close(): Promise<void>;
}

export interface RunningRouter {
  readonly router: Router;
  readonly url: string;
  readonly port: number;
  readonly internalUrl: string;
  metrics(): string;
  stop(): Promise<void>;
}

const defaults = (options: FunctionOptions) => {
  const name = options.name ?? "hello";
  return {
    namespace: "default",
    name,
    uid: `uid-${name}`,
    revision: "r1",
    requestsPerPod: 100,
    concurrency: 10,
    onceOnly: false,
    // Patience costs nothing: what is to run out in time says so itself.
    timeoutMs: 60_000,
    maxBodyBytes: 1_000_000,
    ...options,
  };
};

export async function createWorld(): Promise<World> {
  // Both go away and come back on their ports, which nobody else may have taken meanwhile.
  const ports = await freePortBase();
  const kube = await startFakeKube(ports);
  const functions = new Map<string, ReturnType<typeof defaults>>();
  const executor = await fakeExecutor(kube, functions, ports + 1);
  const log: string[] = [];
  const routers: RunningRouter[] = [];
  const folder = mkdtempSync(join(tmpdir(), "isotope-router-"));
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(
    kubeconfig,
    `apiVersion: v1\nkind: Config\ncurrent-context: t\nclusters: [{name: t, cluster: {server: "${kube.url}"}}]\ncontexts: [{name: t, context: {cluster: t, user: t}}]\nusers: [{name: t, user: {token: x}}]\n`,
  );

  const deploy = (given: FunctionOptions = {}) => {
    const options = defaults(given);
    functions.set(`${options.uid}/${options.revision}`, options);
    kube.put("functions", functionObject(options));
  };
  const publish = (uid: string, revision: string) => publishSlice(kube, executor, functions, uid, revision);
  return {
    kube,
    executor,
    log,
    deploy,
    undeploy: (namespace, name) => kube.remove("functions", namespace, name),
    version: (version, { ready = true, ...given } = {}) => {
      const options = defaults({ revision: version, ...given });
      functions.set(`${options.uid}/${options.revision}`, options);
      const { status } = functionObject(options);
      kube.put("functionversions", {
        metadata: { name: version, namespace: options.namespace, uid: `uid-${version}` },
        spec: { functionName: options.name, functionUID: options.uid },
        ...(ready ? { status } : {}),
      });
    },
    alias: (name, spec, annotations = {}) =>
      kube.put("functionaliases", {
        metadata: { name, namespace: "default", annotations },
        spec: { functionName: "hello", ...spec },
      }),
    trigger: (name, spec, metadata = {}) =>
      kube.put("httptriggers", {
        metadata: { name, namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
        spec: { functionref: { type: "name", name: "hello" }, ...spec },
      }),
    pod: async (given = {}) => {
      const options = defaults(given);
      functions.set(`${options.uid}/${options.revision}`, {
        ...options,
        ...functions.get(`${options.uid}/${options.revision}`),
      });
      const made = await addPod(executor, options, given.host, given.port);
      publish(options.uid, options.revision);
      return made;
    },
    publish,
    router: async (overrides = {}) => {
      const made = await startRouter(kubeconfig, executor.origin, overrides, log);
      routers.push(made);
      return made;
    },
    until,
    close: async () => {
      for (const made of routers) await made.stop();
      await executor.down();
      for (const pods of executor.pods.values()) for (const pod of pods) await pod.close();
      await kube.close();
      rmSync(folder, { recursive: true });
    },
  };
}

async function until(condition: () => boolean | Promise<boolean>, what = "condition"): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Timed out waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function startRouter(
  kubeconfig: string,
  executorUrl: string,
  overrides: Partial<RouterSettings>,
  lines: string[],
): Promise<RunningRouter> {
  const settings: RouterSettings = {
    ...parseSettings(ROUTER_SETTINGS, {
      argv: ["--port=0", "--internal-port=0", "--internal-key-file=unused", `--executor-url=${executorUrl}`],
      env: {},
    }),
    connectTimeoutMs: 30_000,
    queueWaitMs: 60_000,
    ...overrides,
  };
  const registry = metricsRegistry();
  const kube = await createKubeClient({ kubeconfig });
  const log = processLog("router", { level: "debug", write: (line) => lines.push(line) });
  const version = { Version: "0.0.0-test", GitCommit: "", BuildDate: "" };
  const router = createRouter({ settings, kube, keys, log, registry, version });
  const { port, internalPort } = await router.start();
  let stopped = false;
  return {
    router,
    port,
    url: `http://127.0.0.1:${port}`,
    internalUrl: `http://127.0.0.1:${internalPort}`,
    metrics: () => registry.text(),
    stop: async () => {
      if (stopped) return;
      stopped = true;
      await router.drain(200);
      await router.stop();
      await kube.close();
    },
  };
}

export function functionObject(options: ReturnType<typeof defaults>) {
  return {
    metadata: { name: options.name, namespace: options.namespace, uid: options.uid },
    spec: {},
    status: {
      serving: {
        revision: options.revision,
        generation: 1,
        package: { name: "p", digest: "0".repeat(64), sizeBytes: 1 },
        functionName: "",
        environment: { name: "deno", uid: "env", image: "isotope/deno-env:1", version: 3 },
        executorType: "poolmgr",
        env: [],
        envFrom: [],
        secrets: [],
        configMaps: [],
        limits: {
          concurrency: options.concurrency,
          requestsPerPod: options.requestsPerPod,
          onceOnly: options.onceOnly,
          retainPods: 0,
          timeoutMs: options.timeoutMs,
          idleTimeoutMs: 120_000,
          specializationTimeoutMs: 10_000,
          maxBodyBytes: options.maxBodyBytes,
          ...(options.streaming ? { streaming: options.streaming } : {}),
        },
        since: "2026-01-01T00:00:00Z",
      },
    },
  };
}

let podCounter = 0;

async function addPod(
  executor: FakeExecutor,
  options: ReturnType<typeof defaults>,
  host?: string,
  port?: number,
): Promise<FakePod> {
  podCounter += 1;
  const pod = await startFakePod({
    uid: `pod-${podCounter}`,
    revision: options.revision,
    requestsPerPod: options.requestsPerPod,
    onceOnly: options.onceOnly,
    name: options.name,
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
  });
  const key = `${options.uid}/${options.revision}`;
  executor.pods.set(key, [...(executor.pods.get(key) ?? []), pod]);
  return pod;
}

function publishSlice(
  kube: FakeKube,
  executor: FakeExecutor,
  functions: Map<string, ReturnType<typeof defaults>>,
  uid: string,
  revision: string,
): void {
  const options = functions.get(`${uid}/${revision}`);
  if (!options) return;
  const pods = executor.pods.get(`${uid}/${revision}`) ?? [];
  // One slice per port, since all addresses of a slice share its port.
  const names = new Set<string>();
  for (const pod of pods) {
    const name = `${options.name}-${revision}-${pod.uid}`;
    names.add(name);
    if (kube.get("endpointslices", options.namespace, name)) continue;
    kube.put("endpointslices", {
      metadata: {
        name,
        namespace: options.namespace,
        labels: {
          [LABEL_FUNCTION_NAME]: options.name,
          [LABEL_FUNCTION_UID]: uid,
          [LABEL_REVISION]: revision,
          [LABEL_MANAGED_BY]: MANAGED_BY,
        },
        annotations: { [ANNOTATION_REQUESTS_PER_POD]: String(options.requestsPerPod) },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: pod.port }],
      endpoints: [
        {
          addresses: [pod.host],
          conditions: { ready: true },
          targetRef: { kind: "Pod", name: pod.uid, namespace: options.namespace, uid: pod.uid },
        },
      ],
    });
  }
}

async function fakeExecutor(
  kube: FakeKube,
  functions: Map<string, ReturnType<typeof defaults>>,
  port: number,
): Promise<FakeExecutor> {
  let app = Fastify();
  const build = () => {
    app = Fastify();
    app.setErrorHandler(fastifyErrorHandler({ onUnexpected: () => undefined, debug: true }));
    requireSignedCalls(app, { verifier: verifier(keys, "executor") });
    app.post("/v2/acquire", async (request) => {
      const message = AcquireRequest.parse(request.body);
      executor.acquires.push(message);
      await executor.before(message);
      return { endpoints: await grant(executor, kube, functions, message) };
    });
    app.post("/v2/suspect", async (request, reply) => {
      executor.suspects.push(SuspectReport.parse(request.body));
      return reply.code(202).send({});
    });
  };
  build();
  const origin = await app.listen({ host: "127.0.0.1", port });
  const executor: FakeExecutor = {
    origin,
    acquires: [],
    suspects: [],
    before: () => undefined,
    pods: new Map(),
    publishSlices: true,
    down: () => app.close(),
    up: async () => {
      build();
      await app.listen({ host: "127.0.0.1", port });
    },
  };
  return executor;
}

async function grant(
  executor: FakeExecutor,
  kube: FakeKube,
  functions: Map<string, ReturnType<typeof defaults>>,
  message: AcquireRequest,
) {
  const key = `${message.uid}/${message.revision}`;
  const options = functions.get(key);
  if (!options) throw new PlatformError("function_not_found");
  const existing = executor.pods.get(key) ?? [];
  const unknown = existing.filter(
    (pod) => !message.known.includes(pod.uid) && !(pod.onceOnly && pod.started > 0),
  );
  const live = existing.filter((pod) => !(pod.onceOnly && pod.started > 0)).length;
  const wanted = Math.ceil(message.waiting / options.requestsPerPod) - unknown.length;
  const granted = [...unknown];
  for (
    let i = 0;
    i < Math.min(Math.max(wanted, unknown.length === 0 ? 1 : 0), options.concurrency - live);
    i += 1
  )
    granted.push(await addPod(executor, options));
  if (granted.length === 0)
    throw new PlatformError(
      "capacity_exceeded",
      `Cannot start a pod: ${live} of ${options.concurrency} run`,
      { retryAfterMs: 100 },
    );
  if (executor.publishSlices) publishSlice(kube, executor, functions, message.uid, message.revision);
  return granted.map((pod) => ({
    podUid: pod.uid,
    podName: pod.uid,
    address: pod.address,
    revision: message.revision,
    requestsPerPod: options.requestsPerPod,
  }));
}
