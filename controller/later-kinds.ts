import { KINDS } from "../api/kinds/index.ts";
import { type ConditionUpdate, setConditions } from "../kube/conditions.ts";
import { createInformer, type Informer } from "../kube/informer.ts";
import { type PlatformObject, platformType } from "../kube/kinds.ts";
import { isNotFound } from "../kube/kube-error.ts";
import { createOwnWrites } from "../kube/own-writes.ts";
import { createReconciler, done, type Reconcile, type Reconciler } from "../kube/reconcile.ts";
import type { ResourceType } from "../kube/resource.ts";
import { type ControllerContext, writeStatus } from "./context.ts";

/** Kinds that are stored, but whose feature comes in a later release: their Ready condition says so. */
export interface LaterKinds {
  start(): void;
  stop(): Promise<void>;
  readonly reconcilers: Reconciler[];
}

export function watchLaterKinds(
  context: Omit<ControllerContext, "world" | "events">,
  onError: (kind: string, error: unknown, failures: number) => void,
): LaterKinds {
  const parts = KINDS.filter((kind) => !kind.available && kind.status).map((definition) => {
    const type = platformType(definition);
    const informer = createInformer<PlatformObject>({
      client: context.client,
      type,
      transform: withoutSpec,
      onError: (error, failures) => onError(type.kind, error, failures),
    });
    const reconciler = createReconciler({
      name: type.kind,
      concurrency: 1,
      reconcile: laterReconcile(context, type, informer),
      onError: (key, error) => context.log.warn("Cannot reconcile", { kind: type.kind, key, error }),
    });
    informer.subscribe({ onChange: ({ key }) => reconciler.queue.add(key) });
    return { informer, reconciler };
  });
  return {
    start: () => {
      for (const { informer, reconciler } of parts) {
        informer.start();
        reconciler.start();
      }
    },
    stop: async () => {
      await Promise.all(parts.flatMap(({ informer, reconciler }) => [informer.stop(), reconciler.stop()]));
    },
    reconcilers: parts.map(({ reconciler }) => reconciler),
  };
}

function laterReconcile(
  { client, now }: Pick<ControllerContext, "client" | "now">,
  type: ResourceType<PlatformObject>,
  informer: Informer<PlatformObject>,
): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const object = informer.get(key);
    if (!object || object.metadata.deletionTimestamp || own.isStale(key, object)) return done;
    const before = object.status ?? {};
    const conditions = setConditions(before.conditions, conditionsOf(type.kind), {
      generation: object.metadata.generation,
      now: now(),
    });
    try {
      await writeStatus(client, type, object, { ...before, conditions: [...conditions] }, own);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return done;
  };
}

/** What can be said of an object already: that its feature is to come. */
function conditionsOf(kind: string): ConditionUpdate[] {
  const message = `The ${kind} is stored, but its feature comes with a later release: nothing acts on it yet`;
  const later = { status: "False", reason: "FeatureNotAvailable", message } as const;
  return [{ type: "Ready", ...later }];
}

/** Nothing else of the specifications is read. */
function withoutSpec(object: PlatformObject): PlatformObject {
  const { namespace, name, uid, resourceVersion, generation, deletionTimestamp } = object.metadata;
  return {
    metadata: { namespace, name, uid, resourceVersion, generation, deletionTimestamp },
    ...(object.status?.conditions ? { status: { conditions: object.status.conditions } } : {}),
  };
}
