import type { FunctionAlias } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS } from "../../kube/kinds.ts";
import { keyOf } from "../../kube/object.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { done, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { BY_FUNCTION, type World } from "../world.ts";
import { nextAliasStatus } from "./alias-status.ts";

/**
 * Says which version an alias stands for, and remembers which it stood for before. Every write is conditional on the alias as it was read:
 * whoever changes it meanwhile makes it be looked at again, so that no switch is recorded twice or for a state that never was.
 */
export function aliasReconcile({ client, world, events, now }: ControllerContext): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const alias = world.aliases.get(key);
    if (!alias || alias.metadata.deletionTimestamp) {
      own.forget(key);
      return done;
    }
    if (own.isStale(key, alias)) return done;
    const outcome = nextAliasStatus(alias, versionsOf(alias, world), now());
    try {
      if (await isOnItsWay(alias, client, world)) return done;
      await writeStatus(client, FUNCTION_ALIASES, alias, outcome.status, own);
    } catch (error) {
      if (isNotFound(error)) return done;
      throw error;
    }
    for (const { type, reason, message } of outcome.events) events.record(alias, type, reason, message);
    return done;
  };
}

/**
 * Whether a version that the alias names was published so lately that the local copy does not hold it yet: it brings the alias back to the
 * queue when it comes, and nobody is told that it does not exist.
 */
async function isOnItsWay(
  { metadata, spec }: FunctionAlias,
  client: KubeClient,
  world: World,
): Promise<boolean> {
  const namespace = metadata.namespace ?? "default";
  for (const name of [spec.version, spec.secondaryVersion]) {
    if (!name || world.versions.get(`${namespace}/${name}`)) continue;
    const found = await client.find(FUNCTION_VERSIONS, { namespace, name });
    const uid = world.functions.get(`${namespace}/${spec.functionName}`)?.metadata.uid;
    if (found && found.spec.functionName === spec.functionName && found.spec.functionUID === uid) return true;
  }
  return false;
}

/** Versions of the function as it is; those of one of the same name that was deleted do not count. */
function versionsOf({ metadata, spec }: FunctionAlias, world: World) {
  const key = `${metadata.namespace ?? "default"}/${spec.functionName}`;
  const uid = world.functions.get(key)?.metadata.uid;
  return world.versions.byIndex(BY_FUNCTION, key).filter((version) => version.spec.functionUID === uid);
}

/** Brings an alias to the queue when it, its function or a version of it changes. */
export function watchAliases(world: World, enqueue: (key: string) => void): void {
  const enqueueOf = (functionKey: string) => {
    for (const alias of world.aliases.byIndex(BY_FUNCTION, functionKey)) enqueue(keyOf(alias));
  };
  world.aliases.subscribe({ onChange: ({ key }) => enqueue(key) });
  world.functions.subscribe({ onAdd: (fn) => enqueueOf(keyOf(fn)), onDelete: (fn) => enqueueOf(keyOf(fn)) });
  world.versions.subscribe({
    onChange: (change) => {
      const { metadata, spec } = change.type === "delete" ? change.previous : change.object;
      enqueueOf(`${metadata.namespace ?? "default"}/${spec.functionName}`);
    },
  });
}
