import type { CanaryConfig, FunctionAlias, HTTPTrigger } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_ALIASES, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import type { World } from "../world.ts";
import { type CanaryState, isFinished } from "./decide.ts";

/**
 * Whether somebody gave the route or alias of a release that is under way to others, in words. The local copies may be older than what
 * this process wrote itself, so a suspicion is confirmed by the API server.
 */
export async function takenElsewhere(
  { client, world }: { client: Pick<KubeClient, "find">; world: Pick<World, "triggers" | "aliases"> },
  canary: CanaryConfig,
  state: CanaryState,
): Promise<string | undefined> {
  if (!state.old || !state.new || !state.applied || isFinished(state)) return undefined;
  const { alias } = state;
  const namespace = canary.metadata.namespace ?? "default";
  const { trigger: name } = canary.spec;
  const suspicion = elsewhere(canary, state, {
    trigger: world.triggers.get(`${namespace}/${name}`),
    alias: alias === undefined ? undefined : world.aliases.get(`${namespace}/${alias}`),
  });
  if (suspicion === undefined) return undefined;
  const [liveTrigger, liveAlias] = await Promise.all([
    client.find(HTTP_TRIGGERS, { namespace, name }),
    alias === undefined ? undefined : client.find(FUNCTION_ALIASES, { namespace, name: alias }),
  ]);
  return elsewhere(canary, state, { trigger: liveTrigger, alias: liveAlias });
}

/** What is gone may come back; what is there and leads elsewhere was somebody's decision. */
function elsewhere(
  { spec: { dryRun = false } }: CanaryConfig,
  { alias: wanted, old, new: next, weight = 0 }: CanaryState,
  { trigger, alias }: { trigger: HTTPTrigger | undefined; alias: FunctionAlias | undefined },
): string | undefined {
  if (trigger) {
    const { type, name, alias: present } = trigger.spec.functionref;
    const route = `HTTPTrigger "${trigger.metadata.name}"`;
    if (wanted === undefined && type !== "function-weights")
      return `${route} has no function-weights any more, but names function "${name}"`;
    if (wanted !== undefined && type === "function-weights")
      return `${route} goes through alias "${wanted}" no more`;
    if (wanted !== undefined && present !== wanted)
      return `${route} goes ${present ? `through alias "${present}"` : `to function "${name}"`} now, not through alias "${wanted}"`;
  }
  if (!alias) return undefined;
  const { version, secondaryVersion, packageDigest } = alias.spec;
  const which = `FunctionAlias "${alias.metadata.name}"`;
  if (version !== old?.name && version !== next?.name)
    return `${which} names ${version ? `version "${version}"` : `digest "${packageDigest ?? ""}"`} now, neither "${old?.name}" nor "${next?.name}"`;
  const isSplit = weight > 0 && !dryRun;
  if (isSplit && version !== next?.name && secondaryVersion !== next?.name)
    return `${which} has "${next?.name}" beside "${old?.name}" no more`;
  return undefined;
}
