import type { CanaryConfig, CanarySide, FunctionAlias, HTTPTrigger } from "../../api/kinds/index.ts";
import type { World } from "../world.ts";
import type { BothSides } from "./counts.ts";

/** What a canary shifts traffic with. */
export type CanaryTarget =
  | { readonly mode: "function-weights"; readonly trigger: HTTPTrigger }
  | { readonly mode: "alias"; readonly trigger: HTTPTrigger; readonly alias: FunctionAlias };

export interface Problem {
  readonly problem: string;
}

type Objects = Pick<World, "functions" | "triggers" | "versions" | "aliases">;

/** The trigger or alias that a canary splits, or why there is none. */
export function targetOf({ metadata, spec }: CanaryConfig, world: Objects): CanaryTarget | Problem {
  const namespace = metadata.namespace ?? "default";
  const trigger = world.triggers.get(`${namespace}/${spec.trigger}`);
  if (!trigger || trigger.metadata.deletionTimestamp)
    return { problem: `HTTPTrigger "${spec.trigger}" does not exist` };
  const { functionref } = trigger.spec;
  if (functionref.type === "function-weights") return { mode: "function-weights", trigger };
  if (!functionref.alias)
    return {
      problem: `HTTPTrigger "${trigger.metadata.name}" must have function-weights or an alias to be split, but names function "${functionref.name}"`,
    };
  const alias = world.aliases.get(`${namespace}/${functionref.alias}`);
  if (!alias || alias.metadata.deletionTimestamp)
    return { problem: `FunctionAlias "${functionref.alias}" does not exist` };
  return { mode: "alias", trigger, alias };
}

/** The revisions of both sides now, or why there are not two. */
export function sidesOf(
  canary: CanaryConfig,
  target: CanaryTarget | Problem,
  world: Objects,
): BothSides<CanarySide> | Problem {
  if ("problem" in target) return target;
  return target.mode === "alias"
    ? byAlias(canary, target.alias, world)
    : byWeights(canary, target.trigger, world);
}

function byWeights(
  { metadata, spec }: CanaryConfig,
  trigger: HTTPTrigger,
  { functions }: Objects,
): BothSides<CanarySide> | Problem {
  const namespace = metadata.namespace ?? "default";
  const weighed = Object.keys(trigger.spec.functionref.functionweights ?? {});
  const wanted = [spec.newfunction, spec.oldfunction];
  const other = weighed.find((name) => !wanted.includes(name));
  if (other !== undefined)
    return {
      problem: `HTTPTrigger "${spec.trigger}" weighs function "${other}" too: a canary is between two`,
    };
  const sideOf = (name: string): CanarySide | Problem => {
    const fn = functions.get(`${namespace}/${name}`);
    const serving = fn?.status?.serving;
    if (!fn || fn.metadata.deletionTimestamp) return { problem: `Function "${name}" does not exist` };
    if (!serving) return { problem: `Function "${name}" has no revision that can serve yet` };
    return { name, function: name, uid: fn.metadata.uid ?? "", revision: serving.revision };
  };
  return together(sideOf(spec.oldfunction), sideOf(spec.newfunction));
}

function byAlias(
  { metadata, spec, status }: CanaryConfig,
  alias: FunctionAlias,
  world: Objects,
): BothSides<CanarySide> | Problem {
  const namespace = metadata.namespace ?? "default";
  const { name } = alias.metadata;
  const { functionName, version, secondaryVersion, packageDigest } = alias.spec;
  if (packageDigest)
    return {
      problem: `FunctionAlias "${name}" is pinned to a digest: a canary needs one that names a version`,
    };
  const newest = () =>
    world.versions
      .list()
      .filter((each) => each.metadata.namespace === namespace && each.spec.functionName === functionName)
      .toSorted((a, b) => b.spec.sequence - a.spec.sequence)[0]?.metadata.name;
  // The function itself stands for what the alias names; once begun, a canary stays with the versions that it began with.
  const [oldName, newName] = [
    spec.oldfunction === functionName ? (status?.old?.name ?? version) : spec.oldfunction,
    spec.newfunction === functionName
      ? (status?.new?.name ?? (secondaryVersion || newest()))
      : spec.newfunction,
  ];
  const sideOf = (wanted: string | undefined): CanarySide | Problem => {
    if (!wanted) return { problem: `FunctionAlias "${name}" names no version` };
    const found = world.versions.get(`${namespace}/${wanted}`);
    if (!found || found.spec.functionName !== functionName)
      return { problem: `Function "${functionName}" has no version "${wanted}"` };
    const serving = found.status?.serving;
    if (!serving) return { problem: `FunctionVersion "${wanted}" cannot serve yet` };
    return {
      name: wanted,
      function: functionName,
      uid: found.spec.functionUID,
      revision: serving.revision,
    };
  };
  if (version !== undefined && version !== oldName && version !== newName)
    return {
      problem: `FunctionAlias "${name}" names version "${version}", neither "${oldName}" nor "${newName}"`,
    };
  return together(sideOf(oldName), sideOf(newName));
}

function together(old: CanarySide | Problem, next: CanarySide | Problem): BothSides<CanarySide> | Problem {
  if ("problem" in old) return old;
  if ("problem" in next) return next;
  if (old.uid === next.uid && old.revision === next.revision)
    return { problem: `"${old.name}" and "${next.name}" run the same revision: there is nothing to compare` };
  return { old, new: next };
}
