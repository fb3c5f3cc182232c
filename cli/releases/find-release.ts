import type { CanaryConfig } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import { CliError } from "../command.ts";
import { hasEnded } from "./release-view.ts";

const isOf = ({ spec, status }: CanaryConfig, functionName: string): boolean =>
  [spec.newfunction, spec.oldfunction, status?.old?.function, status?.new?.function].includes(functionName);

const runs = ({ status }: CanaryConfig): boolean => !hasEnded({ phase: status?.phase ?? "waiting" });

const quoted = (canaries: readonly CanaryConfig[]): string =>
  canaries.map(({ metadata }) => `"${metadata.name}"`).join(", ");

/**
 * The release of that name, or else the only one of the function of that name, or without a name the only one that runs or that there is.
 * @throws {CliError} when there is none, or more than one
 */
export async function findRelease(
  kube: KubeClient,
  { namespace, name }: { namespace: string; name: string | undefined },
): Promise<CanaryConfig> {
  const { items } = await kube.list(CANARY_CONFIGS, { namespace });
  const found =
    items.find(({ metadata }) => metadata.name === name) ??
    (name === undefined
      ? (only(items.filter(runs)) ?? only(items))
      : only(items.filter((canary) => isOf(canary, name))));
  if (found) return found;
  if (items.length === 0)
    throw new CliError(
      `No release found in namespace "${namespace}": \`isotope deploy --canary 5%,25%,50%\` starts one`,
    );
  throw new CliError(
    name === undefined
      ? `Cannot choose a release: name one of ${quoted(items)}`
      : `No single release "${name}" found in namespace "${namespace}": there are ${quoted(items)}`,
  );
}

const only = (canaries: readonly CanaryConfig[]): CanaryConfig | undefined =>
  canaries.length === 1 ? canaries[0] : undefined;
