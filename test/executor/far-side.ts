import { createHash, randomUUID } from "node:crypto";
import type { Serving } from "../../api/kinds/serving.ts";
import type { PodStatus } from "../../api/wire/pod.ts";
import type { AcquireRequest } from "../../api/wire/executor.ts";
import type { SpecializeRequest } from "../../api/wire/specialize.ts";
import type {
  Cluster,
  EventAbout,
  KubeAutoscaler,
  KubeData,
  KubeDeployment,
  KubeEnvironment,
  KubeFunction,
  KubeFunctionAlias,
  KubeFunctionVersion,
  KubePod,
  KubeReplicaSet,
  KubeSlice,
  PodManifest,
  ReplicaSetManifest,
  SliceManifest,
  Watched,
  WatchEvents,
} from "../../engine/executor/cluster.ts";
import { podManifest, podName, podTemplate } from "../../engine/executor/pod-manifest.ts";
import type { PodCalls, SpecializeOutcome } from "../../engine/executor/pod-calls.ts";

/**
 * The far side of the executor: an API server and a kubelet with pods that keep the contract of `api/wire`, in memory.
 * It outlives executors, so that several can run on it one after the other.
 */
export interface FarSideOptions {
  /** From creation to a listening process. */
  readonly startMs: () => number;
  readonly loadMs: () => number;
  /** What loading ends in. */
  readonly load: (pod: SimulatedPod) => SpecializeOutcome["kind"];
  readonly watchMs: () => number;
  /** Whether this write of the API server fails. */
  readonly writeFails: (what: string) => boolean;
}

export class SimulatedPod {
  readonly uid = randomUUID();
  readonly manifest: PodManifest;
  readonly address: string;
  state: PodStatus["state"] = "generic";
  listening = false;
  /** What the API server says; the pod may answer long before. */
  ready = true;
  annotations: Readonly<Record<string, string>> = {};
  alive = true;
  hung = false;
  request: SpecializeRequest | undefined;
  inFlight = 0;
  started = 0;
  lastEndMs = Date.now();
  specialisations = 0;
  constructor(manifest: PodManifest, address: string) {
    this.manifest = manifest;
    this.address = address;
  }
  get status(): PodStatus {
    return {
      podUid: this.uid,
      state: this.state,
      revision: this.state === "specialised" ? (this.request?.revision ?? null) : null,
      function: this.state === "specialised" && this.request ? { ...this.request.function } : null,
      inFlight: this.inFlight,
      started: this.started,
      idleMs: this.inFlight > 0 ? 0 : Date.now() - this.lastEndMs,
    };
  }
  /** A user request as a router sends it; undefined when it was accepted, else why it was refused. */
  accept(uid: string, revision: string): string | undefined {
    if (!this.alive || !this.listening) return "connect_failed";
    if (uid !== this.uid) return "wrong-pod";
    if (this.state === "retired") return "retired";
    if (this.state !== "specialised" || !this.request) return "not-specialised";
    if (revision !== this.request.revision) return "wrong-revision";
    const { onceOnly, requestsPerPod } = this.request.limits;
    if (this.inFlight >= requestsPerPod || (onceOnly && this.started > 0)) return "busy";
    this.inFlight += 1;
    this.started += 1;
    return undefined;
  }
  finish(): void {
    this.inFlight -= 1;
    this.lastEndMs = Date.now();
  }
}

/** Tells everybody who watches a kind. */
class Broadcast<T> {
  readonly watchers = new Set<WatchEvents<T>>();
  upsert(object: T): void {
    for (const watcher of this.watchers) watcher.upsert(object);
  }
  remove(object: T): void {
    for (const watcher of this.watchers) watcher.remove(object);
  }
}

export class FarSide {
  readonly options: FarSideOptions;
  readonly pods = new Map<string, SimulatedPod>();
  readonly slices = new Map<string, SliceManifest>();
  readonly functions = new Map<string, KubeFunction>();
  readonly versions = new Map<string, KubeFunctionVersion>();
  readonly aliases = new Map<string, KubeFunctionAlias>();
  readonly environments = new Map<string, KubeEnvironment>();
  readonly secrets = new Map<string, KubeData>();
  readonly configMaps = new Map<string, KubeData>();
  /** What was written; nothing acts on it here, the tests of ReplicaSets run on a real API server. */
  readonly replicaSets = new Map<string, ReplicaSetManifest>();
  readonly labels = new Map<string, Record<string, string>>();
  readonly archives = new Map<string, Uint8Array>();
  readonly events: EventAbout[] = [];
  /** Everything that ever was, for counting. */
  readonly history: SimulatedPod[] = [];
  archiveReads = 0;
  readonly #troubles = new Map<SimulatedPod, { readonly reason: string; readonly message: string }>();
  #nextAddress = 1;
  #freeAddresses: string[] = [];
  readonly #watchers = {
    functions: new Broadcast<KubeFunction>(),
    versions: new Broadcast<KubeFunctionVersion>(),
    aliases: new Broadcast<KubeFunctionAlias>(),
    environments: new Broadcast<KubeEnvironment>(),
    pods: new Broadcast<KubePod>(),
  };
  /** Told whenever a pod begins to be specialised. */
  onSpecialising: () => void = () => undefined;
  /** No new pod can start, for this reason. */
  imageTrouble: { readonly reason: string; readonly message: string } | undefined;
  /** Addresses of ended pods are given out again at once. */
  reuseAddresses = false;

  constructor(options: Partial<FarSideOptions> = {}) {
    this.options = {
      startMs: () => 40,
      loadMs: () => 5,
      load: () => "done",
      watchMs: () => 1,
      writeFails: () => false,
      ...options,
    };
  }

  /** A client of the API server for one executor; `cut` ends it as a killed process would: no call of it does anything more. */
  client(): { cluster: Cluster; cut: () => void; connect: (address: string) => PodCalls } {
    let dead = false;
    const guard = async <T>(what: string, run: () => T): Promise<T> => {
      await later(this.options.watchMs());
      if (dead) return new Promise<T>(() => undefined);
      if (this.options.writeFails(what)) throw new Error(`the API server failed at ${what}`);
      return run();
    };
    const watch = <T>(kind: Broadcast<T>, list: () => T[]): Watched<T> => {
      let own: WatchEvents<T> | undefined;
      return {
        start: async (events) => {
          await later(this.options.watchMs());
          if (dead) return;
          for (const object of list()) events.upsert(object);
          own = {
            upsert: (object) => void (dead || events.upsert(object)),
            remove: (object) => void (dead || events.remove(object)),
          };
          kind.watchers.add(own);
        },
        stop: async () => {
          if (own) kind.watchers.delete(own);
        },
      };
    };
    const cluster: Cluster = {
      functions: watch(this.#watchers.functions, () => [...this.functions.values()]),
      versions: watch(this.#watchers.versions, () => [...this.versions.values()]),
      aliases: watch(this.#watchers.aliases, () => [...this.aliases.values()]),
      listVersions: (namespace, functionUid) =>
        guard("listVersions", () =>
          [...this.versions.values()].filter(
            ({ metadata, spec }) => metadata.namespace === namespace && spec.functionUID === functionUid,
          ),
        ),
      environments: watch(this.#watchers.environments, () => [...this.environments.values()]),
      pods: watch(this.#watchers.pods, () => [...this.pods.values()].map((pod) => this.#podObject(pod))),
      replicaSets: watch(new Broadcast<KubeReplicaSet>(), () => []),
      deployments: watch(new Broadcast<KubeDeployment>(), () => []),
      autoscalers: watch(new Broadcast<KubeAutoscaler>(), () => []),
      applyDeployment: ({ spec }) =>
        guard("applyDeployment", () => ({ generation: 1, replicas: spec.replicas })),
      scaleDeployment: () => guard("scaleDeployment", () => 1),
      deleteDeployment: () => guard("deleteDeployment", () => undefined),
      applyService: () => guard("applyService", () => undefined),
      applyAutoscaler: () => guard("applyAutoscaler", () => undefined),
      markSpecialised: () => guard("markSpecialised", () => undefined),
      setCondition: () => guard("setCondition", () => undefined),
      getFunction: (namespace, name) =>
        guard("getFunction", () => this.functions.get(`${namespace}/${name}`)),
      getSecret: (namespace, name) => guard("getSecret", () => this.secrets.get(`${namespace}/${name}`)),
      getConfigMap: (namespace, name) =>
        guard("getConfigMap", () => this.configMaps.get(`${namespace}/${name}`)),
      createPod: (manifest) => guard("createPod", () => this.#create(manifest)),
      labelPod: (namespace, name, labels) =>
        guard("labelPod", () => {
          const pod = this.pods.get(`${namespace}/${name}`);
          if (!pod) return false;
          this.labels.set(pod.uid, { ...this.labels.get(pod.uid), ...labels });
          return true;
        }),
      annotatePod: (namespace, name) => guard("annotatePod", () => this.pods.has(`${namespace}/${name}`)),
      handOverPod: ({ namespace, name, uid, labels }) =>
        guard("handOverPod", () => {
          const pod = this.pods.get(`${namespace}/${name}`);
          if (pod?.uid !== uid) return false;
          this.labels.set(pod.uid, { ...this.labels.get(pod.uid), ...labels });
          return true;
        }),
      applyReplicaSet: (manifest) =>
        guard("applyReplicaSet", () => {
          this.replicaSets.set(`${manifest.metadata.namespace}/${manifest.metadata.name}`, manifest);
          return 1;
        }),
      orphanReplicaSet: (namespace, name) =>
        guard("orphanReplicaSet", () => void this.replicaSets.delete(`${namespace}/${name}`)),
      deletePod: (namespace, name, { uid }) =>
        guard("deletePod", () => {
          const pod = this.pods.get(`${namespace}/${name}`);
          if (pod?.uid === uid) this.end(pod);
        }),
      listSlices: () => guard("listSlices", (): KubeSlice[] => [...this.slices.values()]),
      applySlice: (slice) =>
        guard(
          "applySlice",
          () => void this.slices.set(`${slice.metadata.namespace}/${slice.metadata.name}`, slice),
        ),
      deleteSlice: (namespace, name) =>
        guard("deleteSlice", () => void this.slices.delete(`${namespace}/${name}`)),
      emitEvent: (event) => void this.events.push(event),
    };
    return { cluster, cut: () => void (dead = true), connect: (address) => this.#calls(address, () => dead) };
  }

  addEnvironment(environment: KubeEnvironment): void {
    this.environments.set(`${environment.metadata.namespace}/${environment.metadata.name}`, environment);
    this.#watchers.environments.upsert(environment);
  }
  removeEnvironment(environment: KubeEnvironment): void {
    this.environments.delete(`${environment.metadata.namespace}/${environment.metadata.name}`);
    this.#watchers.environments.remove(environment);
  }
  addFunction(fn: KubeFunction): void {
    this.functions.set(`${fn.metadata.namespace}/${fn.metadata.name}`, fn);
    this.#watchers.functions.upsert(fn);
  }
  removeFunction(fn: KubeFunction): void {
    this.functions.delete(`${fn.metadata.namespace}/${fn.metadata.name}`);
    this.#watchers.functions.remove(fn);
  }

  addVersion(version: KubeFunctionVersion): void {
    this.versions.set(`${version.metadata.namespace}/${version.metadata.name}`, version);
    this.#watchers.versions.upsert(version);
  }
  removeVersion(version: KubeFunctionVersion): void {
    this.versions.delete(`${version.metadata.namespace}/${version.metadata.name}`);
    this.#watchers.versions.remove(version);
  }
  addAlias(alias: KubeFunctionAlias): void {
    this.aliases.set(`${alias.metadata.namespace}/${alias.metadata.name}`, alias);
    this.#watchers.aliases.upsert(alias);
  }
  removeAlias(alias: KubeFunctionAlias): void {
    this.aliases.delete(`${alias.metadata.namespace}/${alias.metadata.name}`);
    this.#watchers.aliases.remove(alias);
  }

  /** The pod's process ends and the API server forgets the pod. */
  end(pod: SimulatedPod): void {
    const key = `${pod.manifest.metadata.namespace}/${pod.manifest.metadata.name}`;
    if (this.pods.get(key) !== pod) return;
    pod.alive = false;
    this.pods.delete(key);
    if (this.reuseAddresses) this.#freeAddresses.push(pod.address);
    setTimeout(() => this.#watchers.pods.remove(this.#podObject(pod)), this.options.watchMs());
  }
  /** The pod's process dies by itself: the API server says Failed until somebody deletes the pod. */
  crash(pod: SimulatedPod, reason = "Error"): void {
    pod.alive = false;
    setTimeout(() => {
      if (this.pods.has(`${pod.manifest.metadata.namespace}/${pod.manifest.metadata.name}`))
        this.#watchers.pods.upsert({
          ...this.#podObject(pod),
          status: {
            phase: "Failed",
            podIP: pod.address.split(":")[0] ?? "",
            containerStatuses: [
              { ready: false, restartCount: 0, state: { terminated: { reason, exitCode: 137 } } },
            ],
          },
        });
    }, this.options.watchMs());
  }

  /** A generic pod of the executor's that starts at once at a given address. */
  startGenericAt(address: string, environment: KubeEnvironment, ready = true): SimulatedPod {
    const template = podTemplate(environment);
    const manifest = podManifest(environment, template, podName(environment.metadata.name), "token");
    return this.#start(Object.assign(new SimulatedPod(manifest, address), { ready }));
  }
  /** A pod that a ReplicaSet made: it answers, and the API server does not know yet that it is ready. */
  startUnreadyOf({ metadata, spec }: ReplicaSetManifest, address: string): SimulatedPod {
    const { labels, annotations } = spec.template.metadata;
    const name = `${metadata.name}-${this.history.length}`;
    const manifest: PodManifest = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: metadata.namespace, labels },
      spec: spec.template.spec,
    };
    return this.#start(Object.assign(new SimulatedPod(manifest, address), { ready: false, annotations }));
  }
  becomeReady(pod: SimulatedPod): void {
    pod.ready = true;
    this.#watchers.pods.upsert(this.#podObject(pod));
  }
  #start(pod: SimulatedPod): SimulatedPod {
    const { namespace, name } = pod.manifest.metadata;
    pod.listening = true;
    this.pods.set(`${namespace}/${name}`, pod);
    this.history.push(pod);
    this.#watchers.pods.upsert(this.#podObject(pod));
    return pod;
  }

  /** The pod that listens at an address. */
  at(address: string): SimulatedPod | undefined {
    for (const pod of this.pods.values()) if (pod.address === address && pod.alive) return pod;
    return undefined;
  }
  get living(): SimulatedPod[] {
    return [...this.pods.values()].filter((pod) => pod.alive);
  }
  specialised(revision?: string): SimulatedPod[] {
    return this.living.filter(
      (pod) => pod.state === "specialised" && (revision === undefined || pod.request?.revision === revision),
    );
  }
  /** UIDs in the slices. */
  published(): string[] {
    return [...this.slices.values()]
      .flatMap((slice) => slice.endpoints.map(({ targetRef }) => targetRef.uid))
      .sort();
  }

  #create(manifest: PodManifest): KubePod {
    const address =
      this.#freeAddresses.shift() ?? `10.0.${this.#nextAddress >> 8}.${this.#nextAddress++ & 255}:8888`;
    const pod = new SimulatedPod(manifest, address);
    this.pods.set(`${manifest.metadata.namespace}/${manifest.metadata.name}`, pod);
    this.history.push(pod);
    const trouble = this.imageTrouble;
    if (trouble) this.#troubles.set(pod, trouble);
    setTimeout(() => {
      pod.listening = trouble === undefined;
      pod.lastEndMs = Date.now();
      if (this.pods.has(`${manifest.metadata.namespace}/${manifest.metadata.name}`))
        this.#watchers.pods.upsert(this.#podObject(pod));
    }, this.options.startMs());
    return this.#podObject(pod);
  }

  #podObject(pod: SimulatedPod): KubePod {
    const { name, namespace, labels } = pod.manifest.metadata;
    return {
      metadata: {
        name,
        namespace,
        uid: pod.uid,
        labels: { ...labels, ...this.labels.get(pod.uid) },
        annotations: pod.annotations,
      },
      status: pod.listening
        ? {
            phase: "Running",
            podIP: pod.address.split(":")[0] ?? "",
            conditions: [{ type: "Ready", status: pod.ready ? "True" : "False" }],
          }
        : {
            phase: "Pending",
            containerStatuses: [{ ready: false, state: { waiting: this.#troubles.get(pod) ?? {} } }],
          },
    };
  }

  #calls(address: string, dead: () => boolean): PodCalls {
    const target = async (): Promise<SimulatedPod | undefined> => {
      await later(0);
      if (dead()) return new Promise(() => undefined);
      const pod = this.at(address);
      return pod?.listening && !pod.hung ? pod : undefined;
    };
    return {
      health: async () => {
        const pod = await target();
        return pod && { podUid: pod.uid, state: pod.state };
      },
      status: async () => {
        const pod = await target();
        return pod ? pod.status : this.at(address) ? undefined : "refused";
      },
      retire: async (ifIdleForMs) => {
        const pod = await target();
        if (!pod) return undefined;
        if (pod.state === "specialised" && pod.inFlight === 0 && pod.status.idleMs >= ifIdleForMs)
          pod.state = "retired";
        return pod.status;
      },
      drain: async () => {
        const pod = await target();
        if (pod) pod.state = "retired";
        return pod !== undefined;
      },
      specialize: async (request, _archive, timeoutMs) => {
        const pod = await target();
        if (!pod) return { kind: "unreachable", message: "ECONNREFUSED" };
        if (pod.uid !== request.podUid || pod.state !== "generic") return { kind: "taken" };
        pod.state = "specialising";
        pod.request = request;
        pod.specialisations += 1;
        this.onSpecialising();
        const loadMs = this.options.loadMs();
        await later(Math.min(loadMs, timeoutMs));
        if (!pod.alive) return { kind: "lost", message: "ECONNRESET" };
        const kind = loadMs > timeoutMs ? "timeout" : this.options.load(pod);
        if (kind === "done") {
          pod.state = "specialised";
          pod.lastEndMs = Date.now();
        } else if (kind === "lost") this.crash(pod, "OOMKilled");
        else pod.state = "failed";
        if (dead()) return new Promise(() => undefined);
        if (kind === "done") return { kind, loadMs };
        if (kind === "rejected")
          return { kind, error: { code: "load_failed", message: "ReferenceError: x is not defined" } };
        return kind === "timeout" || kind === "taken" ? { kind } : { kind, message: "ECONNRESET" };
      },
      close: () => undefined,
    };
  }
}

export const later = (delayMs: number): Promise<void> =>
  delayMs <= 0
    ? new Promise((resolve) => void setImmediate(resolve))
    : new Promise((resolve) => void setTimeout(resolve, delayMs));

export const ARCHIVE = new TextEncoder().encode("export default () => new Response('hello')\n");
export const DIGEST = createHash("sha256").update(ARCHIVE).digest("hex");

export function environmentObject(
  name = "deno",
  spec: Partial<KubeEnvironment["spec"]> = {},
): KubeEnvironment {
  return {
    metadata: { name, namespace: "default", uid: `uid-env-${name}` },
    spec: { version: 3, runtime: { image: "isotope/deno-env:latest" }, poolsize: 3, ...spec },
  };
}

export function servingOf(
  revision: string,
  limits: Partial<Serving["limits"]> = {},
  more: Partial<Serving> = {},
): Serving {
  return {
    revision,
    generation: 1,
    package: { name: "code", digest: DIGEST, sizeBytes: ARCHIVE.length },
    functionName: "",
    environment: { name: "deno", uid: "uid-env-deno", image: "isotope/deno-env:latest", version: 3 },
    executorType: "poolmgr",
    env: [],
    envFrom: [],
    secrets: [],
    configMaps: [],
    limits: {
      concurrency: 500,
      requestsPerPod: 1,
      onceOnly: false,
      retainPods: 0,
      timeoutMs: 60_000,
      idleTimeoutMs: 120_000,
      specializationTimeoutMs: 60_000,
      maxBodyBytes: 1_000_000,
      ...limits,
    },
    since: "2026-01-01T00:00:00Z",
    ...more,
  };
}

export function functionObject(name: string, serving: Serving | undefined): KubeFunction {
  return {
    metadata: { name, namespace: "default", uid: `uid-fn-${name}`, resourceVersion: "1" },
    ...(serving ? { status: { serving } } : {}),
  };
}

/** Version `<fn>-v<sequence>` of the function. */
export function versionObject(fn: string, sequence: number, serving: Serving): KubeFunctionVersion {
  const name = `${fn}-v${sequence}`;
  return {
    metadata: { name, namespace: "default", uid: `uid-version-${name}`, resourceVersion: "1" },
    spec: { functionName: fn, functionUID: `uid-fn-${fn}` },
    status: { serving },
  };
}

/** An alias of the function as the controller has resolved it; `switches`: what it stood for, newest first. */
export function aliasObject(
  name: string,
  fn: string,
  spec: Partial<KubeFunctionAlias["spec"]>,
  switches: readonly string[] = [],
): KubeFunctionAlias {
  const history = switches.map((version) => ({ version, switchedAt: "2026-01-01T00:00:00Z" }));
  const resolved = switches[0] === undefined ? {} : { resolvedVersion: switches[0], history };
  return {
    metadata: { name, namespace: "default", uid: `uid-alias-${name}`, resourceVersion: "1" },
    spec: { functionName: fn, ...spec },
    status: resolved,
  };
}

export function acquireRequest(
  name: string,
  revision: string,
  more: Partial<AcquireRequest> = {},
): AcquireRequest {
  return {
    namespace: "default",
    name,
    uid: `uid-fn-${name}`,
    revision,
    known: [],
    waiting: 1,
    requestId: "r",
    waitMs: 5_000,
    ...more,
  };
}

export const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
