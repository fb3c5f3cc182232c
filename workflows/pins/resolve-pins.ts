import { createHash } from "node:crypto";
import { PlatformError } from "../../api/errors.ts";
import type { FunctionVersion } from "../../api/kinds/index.ts";
import { aliasTargets } from "../../api/releases/alias.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { FunctionWorld } from "../../kube/function-world.ts";
import type { Pin } from "../core/run-record.ts";
import type { ActorFacts, FunctionActor, WorkflowActor } from "../definition/definition.ts";
import { functionPublisher, notReady, type PublisherDeps } from "./function-publisher.ts";
import { versionHolder } from "./hold.ts";

/*
 * What each function that a definition names is for one run. Invariants:
 * 1. A run is given a FunctionVersion for each function before it starts, and never another one: what is deployed in the middle does not reach it.
 * 2. A version is held for the workflow before a run that pins it is stored.
 * 3. Runs of one id choose alike, whoever starts them.
 */

export interface PinDeps extends PublisherDeps {
  readonly client: Pick<KubeClient, "list" | "create" | "find" | "patch">;
  readonly world: Pick<FunctionWorld, "function" | "alias" | "version" | "versionsOf">;
}

export interface PinRequest {
  readonly namespace: string;
  readonly workflow: string;
  readonly runId: string;
  readonly actors: Readonly<Record<string, ActorFacts>>;
}

export interface Pins {
  /** @throws {PlatformError} workflow_not_ready, naming the function and what is missing */
  resolve(request: PinRequest): Promise<Record<string, Pin>>;
  /** Whether a version exists, as far as this process knows. */
  exists(namespace: string, functionName: string, version: string): boolean;
}

export function createPins(deps: PinDeps): Pins {
  const publisher = functionPublisher(deps);
  const hold = versionHolder(deps);
  const versionOf = async (request: PinRequest, actor: FunctionActor): Promise<string> => {
    const { namespace, runId } = request;
    if (actor.version !== undefined && actor.version !== "")
      return explicitVersion(deps.world, namespace, actor.name, actor.version);
    if (actor.alias !== undefined && actor.alias !== "")
      return aliasVersion(deps.world, namespace, actor.name, actor.alias, runId);
    const fn = deps.world.function(namespace, actor.name);
    if (!fn) throw notReady(`function "${actor.name}" does not exist`);
    return publisher.versionOf(fn);
  };

  const pinOf = async (request: PinRequest, actor: FunctionActor | WorkflowActor): Promise<Pin> => {
    if (actor.kind === "workflow")
      return {
        kind: "workflow",
        name: actor.name,
        ...(actor.parentClose === "abandon" && { parentClose: actor.parentClose }),
      };
    const version = await versionOf(request, actor);
    await hold(request.namespace, version, request.workflow);
    const { name, method, path } = actor;
    return { kind: "function", name, version, ...(method && { method }), ...(path && { path }) };
  };

  return {
    resolve: async (request) => {
      try {
        const pins = await Promise.all(
          Object.entries(request.actors).map(async ([name, actor]) => {
            const pin = await pinOf(request, actor.kind === "map" ? actor.each : actor);
            return [name, pin] as const;
          }),
        );
        return Object.fromEntries(pins);
      } catch (error) {
        if (!(error instanceof PlatformError)) throw error;
        throw new PlatformError(error.code, `Cannot start workflow "${request.workflow}": ${error.message}`, {
          cause: error,
          ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
        });
      }
    },
    exists: (namespace, functionName, version) =>
      deps.world.version(namespace, version)?.spec.functionName === functionName ||
      publisher.published(namespace, functionName) === version,
  };
}

function explicitVersion(
  world: PinDeps["world"],
  namespace: string,
  functionName: string,
  version: string,
): string {
  if (world.version(namespace, version)?.spec.functionName === functionName) return version;
  throw notReady(`function "${functionName}" has no version "${version}"`);
}

function aliasVersion(
  world: PinDeps["world"],
  namespace: string,
  functionName: string,
  name: string,
  runId: string,
): string {
  const alias = world.alias(namespace, name);
  if (alias?.spec.functionName !== functionName)
    throw notReady(`function "${functionName}" has no alias "${name}"`);
  const exists = (version: string) => belongs(world.version(namespace, version), functionName);
  const targets = aliasTargets(alias, exists).filter(({ weight }) => weight > 0);
  const total = targets.reduce((sum, { weight }) => sum + weight, 0);
  let at = shareOf(`${name}/${runId}`) * total;
  for (const { version, weight } of targets) {
    at -= weight;
    if (at < 0) return version;
  }
  throw notReady(`alias "${name}" of function "${functionName}" leads to no version`);
}

const belongs = (version: FunctionVersion | undefined, functionName: string): boolean =>
  version?.spec.functionName === functionName;

/** 0 ≤ x < 1, the same for the same key everywhere. */
const shareOf = (key: string): number => createHash("sha256").update(key).digest().readUInt32BE(0) / 2 ** 32;
