import { aliasTargets } from "../../api/releases/alias.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS } from "../../kube/kinds.ts";
import { CliError, UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { versionsOf } from "./function-versions.ts";

/** `--alias` and `--version` of verbs that look at a function. */
export const CHOICE_FLAGS = {
  alias: { type: "string", help: "Only of the versions that this alias names" },
  version: { type: "string", help: "Only of this version" },
} as const;

interface Choice {
  name: string;
  alias: string | undefined;
  version: string | undefined;
}

/**
 * The revisions that `--alias` or `--version` mean; nothing when neither was given.
 * @throws {CliError} when there is no such alias or version of the function
 */
export async function chosenRevisions(
  context: CliContext,
  { name, alias, version }: Choice,
): Promise<string[] | undefined> {
  if (alias && version) throw new UsageError("--alias and --version exclude each other");
  if (!alias && !version) return undefined;
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const versions = await versionsOf(kube, { namespace, name, uid: undefined });
  const names = version ? [version] : await versionsOfAlias(context, name, alias ?? "", versions);
  return names.flatMap((each) => {
    const found = versions.find(({ metadata }) => metadata.name === each);
    if (!found)
      throw new CliError(
        `Function "${name}" has no version "${each}": \`isotope fn versions ${name}\` shows what there is`,
      );
    return found.status?.serving ? [found.status.serving.revision] : [];
  });
}

async function versionsOfAlias(
  context: CliContext,
  name: string,
  alias: string,
  versions: readonly { metadata: { name: string } }[],
): Promise<string[]> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const found = await kube.find(FUNCTION_ALIASES, { namespace, name: alias });
  if (found?.spec.functionName !== name)
    throw new CliError(
      `Function "${name}" has no alias "${alias}": \`isotope alias list --function ${name}\` shows what there is`,
    );
  return aliasTargets(found, (each) => versions.some(({ metadata }) => metadata.name === each)).map(
    ({ version }) => version,
  );
}

/** One version, for verbs with `--version`. @throws {CliError} when the function has none of that name */
export const findVersion = async (context: CliContext, name: string, version: string) => {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const found = await kube.find(FUNCTION_VERSIONS, { namespace, name: version });
  if (found?.spec.functionName === name) return found;
  throw new CliError(
    `Function "${name}" has no version "${version}": \`isotope fn versions ${name}\` shows what there is`,
  );
};
