import type { CanaryConfig, CanaryConfigStatus, FunctionAlias, HTTPTrigger } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_ALIASES, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { mergePatch } from "../../kube/merge-patch.ts";

type Client = Pick<KubeClient, "find" | "patch">;

/**
 * Gives the new side its weight in the route or alias that the release began with. Does nothing when it has it, and leaves alone what is
 * gone or what somebody gave to others. The write is refused when somebody changed the object since it was read, so that a change by hand
 * is never lost; the caller tries again.
 */
export async function applyWeight(
  client: Client,
  { metadata, spec }: Pick<CanaryConfig, "metadata" | "spec">,
  state: CanaryConfigStatus,
): Promise<void> {
  const { old, new: next, weight = 0, alias } = state;
  if (!old || !next) return;
  const { namespace } = metadata;
  if (alias === undefined) {
    const live = await client.find(HTTP_TRIGGERS, { namespace, name: spec.trigger });
    const weighed = live?.spec.functionref.functionweights ?? {};
    if (live?.spec.functionref.type !== "function-weights") return;
    if (Object.keys(weighed).some((name) => name !== old.name && name !== next.name)) return;
    const functionweights = { [next.name]: weight, [old.name]: 100 - weight };
    const functionref: HTTPTrigger["spec"]["functionref"] = { ...live.spec.functionref, functionweights };
    const patch = mergePatch(live.spec, { ...live.spec, functionref });
    if (patch === undefined) return;
    const { resourceVersion } = live.metadata;
    await client.patch(HTTP_TRIGGERS, live.metadata, { metadata: { resourceVersion }, spec: patch });
    return;
  }
  const live = await client.find(FUNCTION_ALIASES, { namespace, name: alias });
  if (live?.spec.version !== old.name && live?.spec.version !== next.name) return;
  const patch = mergePatch(live.spec, aliasSpec(live.spec, state));
  if (patch === undefined) return;
  const { resourceVersion } = live.metadata;
  await client.patch(FUNCTION_ALIASES, live.metadata, { metadata: { resourceVersion }, spec: patch });
}

/** While a release is under way the alias has both versions; at its end one, the promoted or the old. */
function aliasSpec(
  { version: _version, secondaryVersion: _secondary, weight: _weight, ...spec }: FunctionAlias["spec"],
  { old, new: next, weight = 0, phase }: CanaryConfigStatus,
): FunctionAlias["spec"] {
  if (!old || !next) return spec;
  if (phase === "succeeded") return { ...spec, version: next.name };
  if (phase === "failed" || phase === "aborted") return { ...spec, version: old.name };
  return { ...spec, version: old.name, secondaryVersion: next.name, weight: 100 - weight };
}
