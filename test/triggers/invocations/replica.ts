import type { Function as FunctionObject, FunctionAlias, FunctionVersion } from "../../../api/kinds/index.ts";
import { PlatformError } from "../../../api/errors.ts";
import type { Deliver } from "../../../engine/triggers/delivery/event.ts";
import {
  createInvocations,
  type Invocations,
  type InvocationsOptions,
} from "../../../engine/triggers/invocations/invocations.ts";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import { processLog } from "../../../net/log.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import type { Payloads } from "../../../net/payloads.ts";
import { type RedisConnection, redisConnection } from "../../../net/redis.ts";

/** What functions there are, without a Kubernetes API. */
export interface Functions extends FunctionWorld {
  readonly specs: Map<string, FunctionObject>;
  readonly versions: Map<string, FunctionVersion>;
  readonly aliases: Map<string, FunctionAlias>;
}

export function functionWorld(...names: readonly string[]): Functions {
  const specs = new Map<string, FunctionObject>();
  const versions = new Map<string, FunctionVersion>();
  const aliases = new Map<string, FunctionAlias>();
  for (const key of names) specs.set(key, functionObject(key));
  return {
    specs,
    versions,
    aliases,
    function: (namespace, name) => specs.get(`${namespace}/${name}`),
    alias: (namespace, name) => aliases.get(`${namespace}/${name}`),
    version: (namespace, name) => versions.get(`${namespace}/${name}`),
    versionsOf: (namespace, name) =>
      [...versions.values()].filter(
        (version) => version.metadata.namespace === namespace && version.spec.functionName === name,
      ),
    allVersions: () => [...versions.values()],
    aliasesOf: () => [...aliases.values()],
    start: () => undefined,
    synced: Promise.resolve(),
    isSynced: () => true,
    stop: () => Promise.resolve(),
  };
}

export function functionObject(
  key: string,
  spec: Partial<FunctionObject["spec"]> = {},
  generation = 1,
): FunctionObject {
  const [namespace = "", name = ""] = key.split("/");
  return {
    metadata: { namespace, name, uid: `uid-${name}`, generation },
    spec: { environment: { namespace, name: "deno" }, package: {}, InvokeStrategy: {}, ...spec },
  } as FunctionObject;
}

const away = async (): Promise<never> => {
  throw new PlatformError("storage_unavailable", "This test has no storage");
};
/** For what has small bodies only. */
const noPayloads: Payloads = { put: away, read: away, open: away, keep: away, remove: away };

/** A replica of the trigger service's invocations with quick leases and sweeps. */
export interface Replica extends Invocations {
  readonly redis: RedisConnection;
  /** As a kill -9 leaves it: nothing is given back, nobody renews. */
  vanish(): void;
  end(): Promise<void>;
}

export async function startReplica(
  redisUrl: string,
  functions: FunctionWorld,
  deliver: Deliver,
  options: Partial<InvocationsOptions> = {},
): Promise<Replica> {
  const log = processLog("test", { level: "error" });
  const redis = redisConnection({ url: redisUrl, log, name: "test", maxRetryDelayMs: 100 });
  await redis.ready(60_000);
  const invocations = createInvocations({
    redis,
    redisUrl,
    functions,
    deliver,
    publish: () => undefined,
    log,
    metrics: triggerMetrics(metricsRegistry()),
    worker: `worker-${Math.random()}`,
    slots: 64,
    resultTtlMs: 60_000,
    deadLetterTtlMs: 60_000,
    payloads: noPayloads,
    leaseMs: 10_000,
    sweepMs: 200,
    ...options,
  });
  return {
    ...invocations,
    redis,
    vanish: () => redis.client().disconnect(),
    end: async () => {
      await invocations.stop(1_000);
      await redis.close();
    },
  };
}
