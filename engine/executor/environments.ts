import { PlatformError } from "../../api/errors.ts";
import type { EventAbout, KubeEnvironment } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import type { PodTemplate } from "./pod-manifest.ts";
import { createPool, type Pool, type PoolSnapshot } from "./pool.ts";
import type { ExecutorSettings } from "./settings.ts";
import type { Ticket } from "./ticket-queue.ts";

/** The Environments and their pools, by key `namespace/name`. */
export interface Environments {
  readonly upsert: (object: KubeEnvironment) => void;
  readonly remove: (object: KubeEnvironment) => void;
  readonly pool: (key: string) => Pool | undefined;
  /** That one and those of other images that versions hold on to; a pod is in one of them. */
  readonly pools: (key: string) => Iterable<Pool>;
  /** The newest state of an Environment that is minded here. */
  readonly find: (key: string) => KubeEnvironment | undefined;
  /** `wanted`: the Environment with the image that the pod is to have; absent = its own. */
  readonly take: (
    key: string,
    owner: string,
    deliver: (pod: Pod) => void,
    fail: (error: PlatformError) => void,
    wanted?: KubeEnvironment,
  ) => Ticket;
  /** Pools may create pods from now on. */
  readonly open: () => void;
  readonly snapshot: () => PoolSnapshot[];
  readonly close: () => void;
}

export interface EnvironmentsOptions {
  readonly log: ExecutorLog;
  /** Whether the environment is minded here at all. */
  readonly owns: (key: string) => boolean;
  readonly settings: Pick<ExecutorSettings, "parallelStarts" | "maxPodsPerEnvironment" | "poolGrowth">;
  readonly create: (environment: KubeEnvironment, template: PodTemplate) => Pod;
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
  readonly population: (key: string) => number;
  readonly emitEvent: (event: EventAbout) => void;
  readonly onChanged: (key: string) => void;
  readonly onDeleted: (key: string) => void;
}

interface Entry {
  readonly uid: string;
  environment: KubeEnvironment;
  readonly pool: Pool;
  /** By image. */
  readonly pinned: Map<string, Pool>;
}

export function createEnvironments(options: EnvironmentsOptions): Environments {
  const entries = new Map<string, Entry>();
  let opened = false;

  const newPool = (key: string, environment: KubeEnvironment, poolsize?: number): Pool => {
    const pool = poolOf(options, key, environment, poolsize);
    if (opened) pool.open();
    return pool;
  };

  /** Its pods are made when they are asked for. */
  const pinnedPool = (key: string, { pinned }: Entry, wanted: KubeEnvironment): Pool => {
    const { image } = wanted.spec.runtime;
    let pool = pinned.get(image);
    if (pool) pool.configure(wanted);
    else pinned.set(image, (pool = newPool(key, wanted, 0)));
    return pool;
  };

  const remove = ({ metadata }: KubeEnvironment) => {
    const key = `${metadata.namespace}/${metadata.name}`;
    const entry = entries.get(key);
    if (!entry) return;
    entries.delete(key);
    for (const pool of [entry.pool, ...entry.pinned.values()]) pool.close();
    options.onDeleted(key);
  };

  const upsert = (environment: KubeEnvironment) => {
    const { metadata } = environment;
    const key = `${metadata.namespace}/${metadata.name}`;
    if (!options.owns(key)) return;
    const entry = entries.get(key);
    if (metadata.deletionTimestamp !== undefined || (entry && entry.uid !== metadata.uid))
      remove(environment);
    if (metadata.deletionTimestamp !== undefined) return;
    const known = entries.get(key);
    if (known) {
      known.environment = environment;
      known.pool.configure(environment);
      options.onChanged(key);
      return;
    }
    const pool = newPool(key, environment);
    entries.set(key, { uid: metadata.uid, environment, pool, pinned: new Map() });
    options.onChanged(key);
  };

  return {
    upsert,
    remove,
    pool: (key) => entries.get(key)?.pool,
    find: (key) => entries.get(key)?.environment,
    pools: (key) => {
      const entry = entries.get(key);
      return entry ? [entry.pool, ...entry.pinned.values()] : [];
    },
    take: (key, owner, deliver, fail, wanted) => {
      const entry = entries.get(key);
      if (entry && wanted && wanted.spec.runtime.image !== entry.environment.spec.runtime.image)
        return pinnedPool(key, entry, wanted).take(owner, deliver, fail);
      if (entry) return entry.pool.take(owner, deliver, fail);
      fail(new PlatformError("function_not_ready", `Environment "${key}" does not exist`));
      return { cancel: () => undefined };
    },
    open: () => {
      opened = true;
      for (const { pool, pinned } of entries.values())
        for (const one of [pool, ...pinned.values()]) one.open();
    },
    snapshot: () => [...entries.values()].map(({ pool }) => pool.snapshot()),
    close: () => {
      for (const { pool, pinned } of entries.values())
        for (const one of [pool, ...pinned.values()]) one.stop();
    },
  };
}

function poolOf(
  options: EnvironmentsOptions,
  key: string,
  environment: KubeEnvironment,
  poolsize: number | undefined,
): Pool {
  const { log, settings, create, discard } = options;
  return createPool({
    environment,
    log,
    create,
    discard,
    population: () => options.population(key),
    onTrouble: (of, message) => tellTrouble(options, of, message),
    parallelStarts: settings.parallelStarts,
    maxPods: settings.maxPodsPerEnvironment,
    growth: settings.poolGrowth,
    ...(poolsize === undefined ? {} : { poolsize }),
  });
}

function tellTrouble(
  { log, emitEvent }: EnvironmentsOptions,
  environment: KubeEnvironment,
  message: string | undefined,
): void {
  const { namespace, name } = environment.metadata;
  if (message === undefined) {
    log.info("pods of environment start again", { namespace, environment: name });
    return;
  }
  log.warn("pods of environment do not start", { namespace, environment: name, message });
  emitEvent({
    kind: "Environment",
    metadata: environment.metadata,
    type: "Warning",
    reason: "PoolFailing",
    message,
  });
}
