import { isNotFound } from "../../kube/kube-error.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { done, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { BY_CONFIG_MAP, BY_ENVIRONMENT, BY_PACKAGE, BY_SECRET, type World } from "../world.ts";
import { type References, resolveFunction } from "./resolve.ts";
import { nextFunctionStatus } from "./status.ts";

/** Resolves a function and publishes the revision that serves in its status. */
export function functionReconcile({ client, world, events, now }: ControllerContext): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const fn = world.functions.get(key);
    if (!fn || fn.metadata.deletionTimestamp) {
      own.forget(key);
      return done;
    }
    if (own.isStale(key, fn)) return done;
    const references = referencesIn(fn.metadata.namespace ?? "default", world);
    const outcome = nextFunctionStatus(fn, resolveFunction(fn, references), now());
    try {
      await writeStatus(client, FUNCTIONS, fn, outcome.status, own);
    } catch (error) {
      if (isNotFound(error)) return done;
      throw error;
    }
    for (const { type, reason, message } of outcome.events) events.record(fn, type, reason, message);
    return done;
  };
}

/** Looks up what is in a namespace, in the local copies. */
export function referencesIn(namespace: string, world: World): References {
  const key = (name: string) => `${namespace}/${name}`;
  return {
    environment: (name) => world.environments.get(key(name)),
    package: (name) => world.packages.get(key(name)),
    secret: (name) => world.secrets.get(key(name))?.metadata.resourceVersion,
    configMap: (name) => world.configMaps.get(key(name))?.metadata.resourceVersion,
  };
}

/** Brings a function to the queue when it, or anything that it refers to, changes. */
export function watchFunctions(world: World, enqueue: (key: string) => void): void {
  world.functions.subscribe({ onChange: ({ key }) => enqueue(key) });
  const users = (index: string) => ({
    onChange: ({ key }: { key: string }) => {
      for (const fn of world.functions.byIndex(index, key)) {
        enqueue(`${fn.metadata.namespace ?? "default"}/${fn.metadata.name}`);
      }
    },
  });
  world.packages.subscribe(users(BY_PACKAGE));
  world.environments.subscribe(users(BY_ENVIRONMENT));
  world.secrets.subscribe(users(BY_SECRET));
  world.configMaps.subscribe(users(BY_CONFIG_MAP));
}
