import { randomBytes, randomInt } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { inspect } from "node:util";
import { request } from "undici";
import { z } from "zod";
import { HEADER_POD, HEADER_REFUSED, HEADER_REVISION } from "../../api/headers.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_FUNCTION_UID, LABEL_REVISION } from "../../api/names.ts";
import {
  AcquireReply,
  type AcquireRequest,
  type Endpoint,
  type SuspectReport,
} from "../../api/wire/executor.ts";
import type { LoadReport } from "../../api/wire/load.ts";
import type { FaultPoint } from "../../engine/executor/executor.ts";
import {
  createExecutorProcess,
  EXECUTOR_AUDIENCE,
  type ExecutorProcess,
} from "../../engine/executor/executor-process.ts";
import { EXECUTOR_SETTINGS, type ExecutorSettings } from "../../engine/executor/settings.ts";
import { denoFlags } from "../../env-images/deno/flags.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES } from "../../kube/core.ts";
import { ENVIRONMENTS, FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "../../kube/kinds.ts";
import { fetcherRule, type ImageTable } from "../../local/image-table.ts";
import { controllersPart } from "../../localkube/controllers/controllers-part.ts";
import { kubeletPart } from "../../localkube/kubelet/kubelet-part.ts";
import { type Localkube, startLocalkube } from "../../localkube/server.ts";
import { type KeyRing, keyRing } from "../../net/keys.ts";
import { parseSettings } from "../../net/settings.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { PYTHON } from "../env/python/python-runtime.ts";
import { procEntry } from "../proc-entry.ts";
import { SILENT } from "./far-side.ts";

/** A real API server and kubelet, real Deno pods, and executors beside them. */
export interface RealWorld {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly archives: Map<string, Uint8Array>;
  startExecutor(settings?: Partial<ExecutorSettings>): Promise<RunningExecutor>;
  addEnvironment(poolsize: number, more?: Record<string, unknown>, name?: string): Promise<void>;
  /** Creates or changes the function; its revision is served at once. */
  serve(name: string, serving: Serving): Promise<{ uid: string }>;
  /** Version `<name>-v<sequence>` of a function that exists, serving this at once. */
  publish(name: string, sequence: number, serving: Serving): Promise<string>;
  /** An alias that stands for the version, as the controller resolves it. */
  alias(alias: string, name: string, version: string): Promise<void>;
  /** Process id of a pod's runtime. */
  podProcess(podUid: string): Promise<number>;
  stop(): Promise<void>;
}

export interface RunningExecutor {
  readonly process: ExecutorProcess;
  /** Ends it at its next visit of that point as kill -9 would: nothing that it writes from then on arrives. Resolves when it has. */
  dieAt(point: FaultPoint): Promise<void>;
  readonly router: SignedClient;
  suspect(report: SuspectReport): Promise<void>;
  load(report: LoadReport): Promise<void>;
  acquire(name: string, uid: string, revision: string, more?: Partial<AcquireRequest>): Promise<Endpoint[]>;
  stop(): Promise<void>;
}

const ROOT = resolve(import.meta.dirname, "../..");
export const NAMESPACE = "default";
const IMAGE = "isotope/deno-env:test";

export async function realWorld(): Promise<RealWorld> {
  const dataDir = mkdtempSync(join(tmpdir(), "isotope-executor-"));
  const imagesFile = join(dataDir, "images.json");
  const command = [
    join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno"),
    ...denoFlags({ root: "${ROOT}", denyNet: [], memoryMb: 256 }),
    join(ROOT, "env-images/deno/main.ts"),
    "--host",
    "${POD_IP}",
    "--port",
    "${PORT}",
    "--root",
    "${ROOT}",
  ];
  const env = { DENO_DIR: join(tmpdir(), "isotope-test-deno"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" };
  const images = [{ match: "isotope/deno-env:*", command, env }, ...foreignImages()];
  writeFileSync(imagesFile, JSON.stringify({ images }));
  const localkube = await startLocalkube({
    dataDir,
    port: 0,
    crdDirs: [join(ROOT, "charts/isotope/files/crds")],
    parts: [
      kubeletPart({
        nodeName: "local",
        stateDir: dataDir,
        imagesFile,
        podCidr: `127.${randomInt(100, 200)}.${randomInt(0, 255)}.0/24`,
        parentPid: undefined,
      }),
      controllersPart({ nodeName: "local", version: "v1.34.0" }),
    ],
    log: () => undefined,
  });
  const client = await createKubeClient({ kubeconfig: localkube.kubeconfigPath });
  return worldOn({
    client,
    executorClient: client,
    namespace: NAMESPACE,
    image: IMAGE,
    stop: async () => {
      await stopLocalkube(client, localkube);
      rmSync(dataDir, { recursive: true, force: true });
    },
  });
}

/** Where executors and their pods run. */
export interface WorldApi {
  readonly client: KubeClient;
  /** What executors work with: on a cluster that others use too, no more than the test's own namespace. */
  readonly executorClient: KubeClient;
  readonly namespace: string;
  /** Of our own runtime. */
  readonly image: string;
  readonly stop: () => Promise<void>;
}

/** The same on any Kubernetes API. */
export function worldOn(api: WorldApi): RealWorld {
  const { client } = api;
  const keys = keyRing([randomBytes(32).toString("hex")]);
  const archives = new Map<string, Uint8Array>();
  const executors = new Set<RunningExecutor>();
  return {
    client,
    keys,
    archives,
    addEnvironment: (poolsize, more = {}, name = "deno") => addEnvironment(api, poolsize, more, name),
    serve: (name, serving) => serve(api, name, serving),
    publish: (name, sequence, serving) => publish(api, name, sequence, serving),
    alias: (alias, name, version) => setAlias(api, alias, name, version),
    podProcess: async (podUid) => processOf(podUid),
    startExecutor: async (settings = {}) => {
      const started = await startExecutor(api, keys, archives, settings, (ended) => executors.delete(ended));
      executors.add(started);
      return started;
    },
    stop: async () => {
      for (const executor of executors) await executor.stop();
      await api.stop();
    },
  };
}

/** A runtime in another language, for one function and for any number, and the fetcher that stands beside it. */
function foreignImages(): ImageTable["images"] {
  const command = [
    PYTHON,
    join(ROOT, "test/env/python/server.py"),
    "--host",
    "${POD_IP}",
    "--port",
    "${PORT}",
    "--userfunc",
    "${ROOT}/userfunc",
  ];
  const env = {
    SECRETS_FOLDER: "${ROOT}/secrets",
    CONFIGS_FOLDER: "${ROOT}/configs",
    PYTHONDONTWRITEBYTECODE: "1",
  };
  return [
    { match: "python-env:*", command, env },
    { match: "python-shared-env:*", command: [...command, "--infinite"], env },
    fetcherRule(process.execPath, join(ROOT, "env-images/fetcher/main.ts")),
    {
      match: "web:*",
      command: [process.execPath, join(ROOT, "test/executor/web-server.mjs"), "${POD_IP}", "${PORT}"],
      env: {},
    },
  ];
}

/** Every pod has its own folder, named after its UID, among its arguments. */
function processOf(podUid: string): number {
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const [program = "", ...given] = procEntry(entry, "cmdline").split("\0");
    if (program.endsWith("/deno") && given.some((argument) => argument.includes(podUid)))
      return Number(entry);
  }
  throw new Error(`pod ${podUid} has no process`);
}

async function stopLocalkube(client: KubeClient, localkube: Localkube): Promise<void> {
  await client.close();
  await localkube.stop();
}

async function addEnvironment(
  { client, namespace, image }: WorldApi,
  poolsize: number,
  more: Record<string, unknown>,
  name: string,
): Promise<void> {
  await client.create(ENVIRONMENTS, {
    apiVersion: "fission.io/v1",
    kind: "Environment",
    metadata: { name, namespace },
    spec: { version: 3, runtime: { image }, poolsize, terminationGracePeriod: 5, ...more },
  });
}

async function serve(
  { client, namespace }: WorldApi,
  name: string,
  serving: Serving,
): Promise<{ uid: string }> {
  const ref = { namespace, name };
  const found =
    (await client.find(FUNCTIONS, ref)) ??
    (await client.create(FUNCTIONS, {
      apiVersion: "fission.io/v1",
      kind: "Function",
      metadata: ref,
      spec: {
        environment: { name: serving.environment.name, namespace },
        package: { packageref: { name: "code", namespace } },
        InvokeStrategy: {},
      },
    }));
  await client.patchStatus(FUNCTIONS, ref, { serving });
  return { uid: found.metadata.uid ?? "" };
}

async function publish(
  { client, namespace }: WorldApi,
  name: string,
  sequence: number,
  serving: Serving,
): Promise<string> {
  const version = `${name}-v${sequence}`;
  const fn = await client.find(FUNCTIONS, { namespace, name });
  if (!fn) throw new Error(`no function ${name}`);
  const uid = fn.metadata.uid ?? "";
  await client.create(FUNCTION_VERSIONS, {
    apiVersion: "fission.io/v1",
    kind: "FunctionVersion",
    metadata: { name: version, namespace, labels: { [LABEL_FUNCTION_UID]: uid } },
    spec: {
      functionName: name,
      functionUID: uid,
      functionGeneration: 1,
      sequence,
      snapshot: fn.spec,
      packageDigest: "",
      publishedAt: "2026-01-01T00:00:00Z",
    },
  });
  await client.patchStatus(FUNCTION_VERSIONS, { namespace, name: version }, { serving });
  return version;
}

async function setAlias(
  { client, namespace }: WorldApi,
  alias: string,
  name: string,
  version: string,
): Promise<void> {
  await client.create(FUNCTION_ALIASES, {
    apiVersion: "fission.io/v1",
    kind: "FunctionAlias",
    metadata: { name: alias, namespace },
    spec: { functionName: name, version },
  });
  await client.patchStatus(FUNCTION_ALIASES, { namespace, name: alias }, { resolvedVersion: version });
}

async function startExecutor(
  { executorClient, namespace }: WorldApi,
  keys: KeyRing,
  archives: Map<string, Uint8Array>,
  settings: Partial<ExecutorSettings>,
  onStop: (executor: RunningExecutor) => void,
): Promise<RunningExecutor> {
  const mortal = mortalClient(executorClient);
  let deadly: { readonly point: FaultPoint; readonly died: () => void } | undefined;
  const executor = createExecutorProcess({
    client: mortal.client,
    onFaultPoint: (point) => {
      if (point !== deadly?.point) return;
      mortal.cut();
      deadly.died();
    },
    keys,
    archives: {
      read: async (digest) => {
        const found = archives.get(digest);
        if (!found) throw new Error("no such archive");
        return found;
      },
    },
    settings: {
      ...parseSettings(EXECUTOR_SETTINGS, { argv: ["--internal-key-file", "none"], env: {} }),
      ...settings,
    },
    host: "127.0.0.1",
    port: 0,
    log: SILENT,
  });
  const origin = await executor.start();
  const router = signedClient({
    keys,
    origin,
    audience: EXECUTOR_AUDIENCE,
    unavailable: "executor_unavailable",
  });
  const running: RunningExecutor = {
    process: executor,
    router,
    dieAt: (point) =>
      new Promise<void>((resolve) => {
        deadly = { point, died: resolve };
      }),
    suspect: async (report) => void (await router.postJson("/v2/suspect", report, z.unknown())),
    load: async (report) => void (await router.postJson("/v2/load", report, z.unknown())),
    acquire: async (name, uid, revision, more = {}) => {
      const body: AcquireRequest = {
        namespace,
        name,
        uid,
        revision,
        known: [],
        waiting: 1,
        requestId: "test",
        waitMs: 60_000,
        ...more,
      };
      const timeoutMs = body.waitMs + 30_000;
      return (await router.postJson("/v2/acquire", body, AcquireReply, { timeoutMs })).endpoints;
    },
    stop: async () => {
      onStop(running);
      await router.close();
      await executor.stop();
    },
  };
  return running;
}

/** A client whose writes arrive until it is cut; later ones neither arrive nor end. */
function mortalClient(client: KubeClient): { readonly client: KubeClient; readonly cut: () => void } {
  let dead = false;
  const sent = <R>(call: () => Promise<R>): Promise<R> => (dead ? new Promise<R>(() => undefined) : call());
  return {
    client: {
      ...client,
      create: (type, object, options) => sent(() => client.create(type, object, options)),
      patch: (type, ref, body, options) => sent(() => client.patch(type, ref, body, options)),
      patchStatus: (type, ref, status, options) => sent(() => client.patchStatus(type, ref, status, options)),
      delete: (type, ref, options) => sent(() => client.delete(type, ref, options)),
    },
    cut: () => void (dead = true),
  };
}

/** A user's request as a router sends it to a pod. */
export async function callPod(
  endpoint: Endpoint,
  path = "/",
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string; refused: string | undefined }> {
  const reply = await request(`http://${endpoint.address}${path}`, {
    // A kept connection may end at the very moment at which a request is sent on it, when its pod goes.
    reset: true,
    headers: { [HEADER_POD]: endpoint.podUid, [HEADER_REVISION]: endpoint.revision, ...headers },
  });
  const refused = reply.headers[HEADER_REFUSED];
  return { status: reply.statusCode, text: await reply.body.text(), refused: refused?.toString() };
}

/** Undefined when a router's request is served by this pod, or goes to another one since it ran nothing of it; else what went wrong. */
export async function failureOf(endpoint: Endpoint): Promise<string | undefined> {
  try {
    const { status, text, refused } = await callPod(endpoint);
    return status === 200 || refused === "retired" ? undefined : `${status} ${text}`;
  } catch (error) {
    const notReached = error instanceof Error && "code" in error && error.code === "ECONNREFUSED";
    return notReached ? undefined : inspect(error);
  }
}

/** Calls pods all the time, so that none is idle while `work` is done; tells which calls failed. */
export async function whileCalled(
  endpoints: readonly Endpoint[],
  work: () => Promise<unknown>,
): Promise<string[]> {
  const enough = new AbortController();
  const failures: string[] = [];
  const calling = endpoints.map(async (endpoint) => {
    while (!enough.signal.aborted) {
      const { status } = await callPod(endpoint).catch((error: unknown) => ({ status: inspect(error) }));
      if (status !== 200) failures.push(String(status));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  try {
    await work();
  } finally {
    enough.abort();
    await Promise.all(calling);
  }
  return failures;
}

/** UIDs of the pods in the slices. */
export async function publishedPods(client: KubeClient, namespace = NAMESPACE): Promise<string[]> {
  const { items } = await client.list(ENDPOINT_SLICES, { namespace });
  // Those of a function's Service are Kubernetes' own.
  const own = items.filter(({ metadata }) => metadata.labels?.[LABEL_REVISION] !== undefined);
  return own.flatMap((slice) => slice.endpoints.map(({ targetRef }) => targetRef?.uid ?? "")).sort();
}
