import { PlatformError } from "../../../api/errors.ts";
import type { Function as FunctionObject, FunctionVersion } from "../../../api/kinds/index.ts";
import { aliasTargets } from "../../../api/releases/alias.ts";
import { versionServed } from "../../../api/releases/publish.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import { chooseTarget, shareOf } from "../delivery/choose-target.ts";
import type { Target } from "../delivery/event.ts";

export interface PinnedTarget {
  readonly target: Target;
  /** The version is what the target came to now, not what somebody asked for. */
  readonly pinned: boolean;
  /** Undefined for a workflow. */
  readonly function: FunctionObject | undefined;
}

type World = Pick<FunctionWorld, "function" | "alias" | "version" | "versionsOf">;

/**
 * What an event goes to, chosen now: a retry next week calls what was there when the event was accepted. Splits and aliases choose by the event's id; a
 * function that is published calls its version of now; one that is not, whatever it is then.
 * @throws {PlatformError} function_not_found, version_not_found
 */
export function pinTarget(world: World, namespace: string, asked: Target, eventId: string): PinnedTarget {
  const target = chooseTarget(asked, eventId);
  if (target.type === "workflow") return { target, pinned: false, function: undefined };
  const { name, alias, version } = target;
  const fn = world.function(namespace, name);
  if (!fn) throw new PlatformError("function_not_found", `Function "${namespace}/${name}" does not exist`);
  const isVersion = (candidate: string): boolean =>
    world.version(namespace, candidate)?.spec.functionName === name;
  if (version) {
    if (!isVersion(version))
      throw new PlatformError(
        "version_not_found",
        `Function "${namespace}/${name}" has no version "${version}"`,
      );
    return { target: { type: "name", name, version }, pinned: false, function: fn };
  }
  const now = alias ? versionOfAlias(world, namespace, name, alias, eventId) : currentVersion(world, fn);
  return now === undefined
    ? { target: { type: "name", name, ...(alias ? { alias } : {}) }, pinned: false, function: fn }
    : { target: { type: "name", name, version: now }, pinned: true, function: fn };
}

function versionOfAlias(
  world: World,
  namespace: string,
  name: string,
  alias: string,
  eventId: string,
): string | undefined {
  const object = world.alias(namespace, alias);
  if (object?.spec.functionName !== name)
    throw new PlatformError("version_not_found", `Function "${namespace}/${name}" has no alias "${alias}"`);
  const sides = aliasTargets(
    object,
    (version) => world.version(namespace, version)?.spec.functionName === name,
  );
  let left = shareOf(eventId) * 100;
  for (const { version, weight } of sides) {
    left -= weight;
    if (left < 0) return version;
  }
  return undefined;
}

/** Of a function as it is: comparing it with its versions costs some, and it changes seldom. */
const served = new WeakMap<
  FunctionObject,
  { readonly newest: FunctionVersion; readonly name: string | undefined }
>();

/** The version that the function serves as it is now, if it was published. */
function currentVersion(world: World, fn: FunctionObject): string | undefined {
  const { namespace = "default", name } = fn.metadata;
  const versions = world.versionsOf(namespace, name);
  const [newest] = versions.toSorted((a, b) => b.spec.sequence - a.spec.sequence);
  if (!newest) return undefined;
  const known = served.get(fn);
  if (known?.newest === newest) return known.name;
  const found = versionServed(fn, versions)?.metadata.name;
  served.set(fn, { newest, name: found });
  return found;
}
