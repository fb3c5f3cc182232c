import { PlatformError } from "../../api/errors.ts";
import type { Function as FunctionObject } from "../../api/kinds/index.ts";
import { planPublish, publishProblem } from "../../api/releases/publish.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { FunctionWorld } from "../../kube/function-world.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { NotPublishable, publishVersion } from "../../kube/publish-version.ts";

export interface PublisherDeps {
  readonly client: Pick<KubeClient, "list" | "create" | "find">;
  readonly world: Pick<FunctionWorld, "version" | "versionsOf">;
  readonly now?: () => Date;
  /** How long to wait for a version that was just published to serve; default 10 s. */
  readonly servesWithinMs?: number;
}

export interface FunctionPublisher {
  /** The version that is what a function serves; published if there is none. @throws {PlatformError} workflow_not_ready */
  versionOf(fn: FunctionObject): Promise<string>;
  /** The last version of a function that was seen or made here. */
  published(namespace: string, functionName: string): string | undefined;
}

const SERVES_WITHIN_MS = 10_000;
const LOOK_MS = 20;

/** Finds the version that a function serves. Many who ask at once publish it once. */
export function functionPublisher(deps: PublisherDeps): FunctionPublisher {
  const now = deps.now ?? (() => new Date());
  const published = new Map<string, { version: string; of: string }>();
  const publishing = new Map<string, Promise<string>>();

  const publish = async (fn: FunctionObject): Promise<string> => {
    const { namespace = "default", name } = fn.metadata;
    const latest = await deps.client.find(FUNCTIONS, { namespace, name });
    if (!latest) throw notReady(`function "${name}" does not exist`);
    try {
      const { version } = await publishVersion(deps.client, latest, { now: now() });
      published.set(`${namespace}/${name}`, {
        version: version.metadata.name,
        of: latest.metadata.resourceVersion ?? "",
      });
      await serving(deps, namespace, version.metadata.name);
      return version.metadata.name;
    } catch (error) {
      if (error instanceof NotPublishable) throw notReady(error.message);
      throw error;
    }
  };

  const versionOf = async (fn: FunctionObject): Promise<string> => {
    const { namespace = "default", name, resourceVersion = "" } = fn.metadata;
    const key = `${namespace}/${name}`;
    const known = published.get(key);
    if (known?.of === resourceVersion) return known.version;
    const versions = deps.world.versionsOf(namespace, name);
    if (publishProblem(fn) === undefined) {
      const plan = planPublish(fn, versions, {}, now());
      if (plan.kind === "published") {
        published.set(key, { version: plan.version.metadata.name, of: resourceVersion });
        return plan.version.metadata.name;
      }
      const running = publishing.get(key) ?? publish(fn).finally(() => publishing.delete(key));
      publishing.set(key, running);
      return running;
    }
    // Its newest state does not serve yet: what it serves meanwhile may be published.
    const revision = fn.status?.serving?.revision;
    const serves = versions.find(
      ({ status }) => revision !== undefined && status?.serving?.revision === revision,
    );
    if (serves) return serves.metadata.name;
    throw notReady(`function "${name}": ${publishProblem(fn) ?? "it does not serve yet"}`);
  };

  return {
    versionOf,
    published: (namespace, functionName) => published.get(`${namespace}/${functionName}`)?.version,
  };
}

/** A version that was just made has no revision until the controller has looked at it: a call would be refused. */
async function serving(deps: PublisherDeps, namespace: string, version: string): Promise<void> {
  const untilMs = performance.now() + (deps.servesWithinMs ?? SERVES_WITHIN_MS);
  while (performance.now() < untilMs) {
    if (deps.world.version(namespace, version)?.status?.serving !== undefined) return;
    await new Promise((go) => setTimeout(go, LOOK_MS));
  }
  // The step's own call waits for it then, without using up an attempt.
}

/** Why a run cannot start now. */
export const notReady = (message: string) =>
  new PlatformError("workflow_not_ready", message, { retryAfterMs: 1_000 });
