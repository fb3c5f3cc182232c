import { stringify } from "yaml";
import { previousVersion } from "../../../api/releases/alias.ts";
import { DEFAULT_RETAINED_VERSIONS, versionsToRemove } from "../../../api/releases/retention.ts";
import type { Function as FunctionObject, FunctionAlias, FunctionVersion } from "../../../api/kinds/index.ts";
import { ANNOTATION_DESCRIPTION } from "../../../api/names.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "../../../kube/kinds.ts";
import type { KubeClient } from "../../../kube/client.ts";
import { listVersionUses, removeOldVersions } from "../../../kube/remove-versions.ts";
import { changeObject } from "../../change-object.ts";
import { CliError, type Command, defineCommand } from "../../command.ts";
import type { CliContext } from "../../context.ts";
import { notFound, readyOf } from "../../generic-verbs.ts";
import { age, OUTPUT_FLAG, printObjects } from "../../output.ts";
import { aliasShares } from "../../releases/alias-shares.ts";
import { aliasesOf, versionsOf } from "../../releases/function-versions.ts";
import { publishFunction } from "../../releases/publish-function.ts";
import { waitForAlias } from "../../releases/wait-for-alias.ts";
import { waitForVersion } from "../../releases/wait-for-version.ts";

const NAME = { type: "string", help: "Function", required: true } as const;
const PLACE = [{ name: "name", help: "Function", flag: "name" }] as const;
const TIMEOUT = { type: "duration", help: "How long to wait", default: 60_000 } as const;

async function findFunction(context: CliContext, name: string): Promise<FunctionObject> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const found = await kube.find(FUNCTIONS, { namespace, name });
  if (!found) throw notFound("fn", "Function", name, namespace);
  return found;
}

const identity = ({ metadata }: FunctionObject, namespace: string) => ({
  namespace,
  name: metadata.name,
  uid: metadata.uid,
});

const publish: Command = defineCommand({
  noun: "fn",
  verb: "publish",
  summary: "Keep what a function is now under a version that never changes",
  description:
    "Publishing again without a change names the version that is there. Aliases and routes refer to versions; later changes of the function do not touch them.",
  examples: ["isotope fn publish hello", 'isotope fn publish hello --description "new prices" --wait'],
  positionals: PLACE,
  flags: {
    name: NAME,
    description: { type: "string", help: "What is new in it" },
    wait: { type: "boolean", help: "Wait until the version can be called" },
    timeout: TIMEOUT,
    output: OUTPUT_FLAG,
  },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    await findFunction(context, flags.name);
    const wait = { timeoutMs: flags.timeout, signal: context.signal };
    const published = await publishFunction(
      kube,
      { namespace, name: flags.name },
      { ...wait, description: flags.description },
    );
    const { name } = published.version.metadata;
    const version = flags.wait ? await waitForVersion(kube, { namespace, name }, wait) : published.version;
    if (flags.output === "json") context.out(`${JSON.stringify(version, null, 2)}\n`);
    else if (flags.output === "yaml") context.out(stringify(version, { lineWidth: 0 }));
    else if (flags.output === "name") context.out(`functionversions/${name}\n`);
    else
      context.out(
        published.created
          ? `functionversion "${name}" published\n`
          : `functionversion "${name}" is what function "${flags.name}" is now; nothing to publish\n`,
      );
    return 0;
  },
});

const versions: Command = defineCommand({
  noun: "fn",
  verb: "versions",
  summary: "List a function's versions, newest first",
  positionals: PLACE,
  flags: { name: NAME, output: OUTPUT_FLAG },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const fn = await findFunction(context, flags.name);
    const [found, aliases] = [
      await versionsOf(kube, identity(fn, namespace)),
      await aliasesOf(kube, { namespace, name: flags.name }),
    ];
    const latest = fn.status?.serving?.revision;
    printObjects<FunctionVersion>(
      context,
      found,
      [
        { header: "NAME", value: ({ metadata }) => metadata.name },
        { header: "SEQUENCE", value: ({ spec }) => spec.sequence },
        { header: "READY", value: readyOf },
        {
          header: "REVISION",
          value: ({ status }) =>
            status?.serving &&
            `${status.serving.revision}${status.serving.revision === latest ? " (latest)" : ""}`,
        },
        { header: "ALIASES", value: ({ metadata }) => aliasShares(metadata.name, aliases) },
        { header: "PUBLISHED", value: ({ spec }) => age(spec.publishedAt) },
        { header: "DESCRIPTION", value: ({ metadata }) => metadata.annotations?.[ANNOTATION_DESCRIPTION] },
        { header: "PACKAGE", value: ({ spec }) => spec.packageDigest, wide: true },
        { header: "IMAGE", value: ({ spec }) => spec.envRuntimeImage, wide: true },
      ],
      { output: flags.output, kind: FUNCTION_VERSIONS.plural },
    );
    return 0;
  },
});

/** The alias that is meant when none is named. @throws {CliError} */
function onlyAlias(name: string, aliases: readonly FunctionAlias[]): FunctionAlias {
  const [first, ...more] = aliases;
  if (!first)
    throw new CliError(
      `Cannot roll back function "${name}": it has no alias; \`isotope alias create\` makes one`,
    );
  if (more.length > 0)
    throw new CliError(
      `Cannot choose an alias of function "${name}": name one of ${aliases.map(({ metadata }) => `"${metadata.name}"`).join(", ")} with --alias`,
    );
  return first;
}

const rollback: Command = defineCommand({
  noun: "fn",
  verb: "rollback",
  summary: "Let an alias name the version before",
  description: "The version before is warm still: the next request gets it, none waits for a start.",
  examples: ["isotope fn rollback hello --alias hello-live", "isotope fn rollback hello --to hello-v3"],
  positionals: PLACE,
  flags: {
    name: NAME,
    alias: { type: "string", help: "Alias; default: the function's only one" },
    to: { type: "string", help: "Version; default: the one before the last switch" },
    detach: { type: "boolean", help: "Do not wait" },
    wait: { type: "boolean", help: "Wait until the alias is resolved", default: true },
    timeout: TIMEOUT,
  },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    await findFunction(context, flags.name);
    const aliases = await aliasesOf(kube, { namespace, name: flags.name });
    const alias = flags.alias
      ? aliases.find(({ metadata }) => metadata.name === flags.alias)
      : onlyAlias(flags.name, aliases);
    if (!alias)
      throw notFound("alias", `FunctionAlias of function "${flags.name}"`, flags.alias ?? "", namespace);
    const aliasName = alias.metadata.name;
    const from = alias.status?.resolvedVersion ?? alias.spec.version;
    const to = flags.to ?? previousVersion(alias);
    if (!to)
      throw new CliError(
        `Cannot roll back alias "${aliasName}": it has named "${from ?? "nothing"}" only; --to names another version`,
      );
    const target = await kube.find(FUNCTION_VERSIONS, { namespace, name: to });
    if (target?.spec.functionName !== flags.name)
      throw new CliError(
        `Cannot roll back to "${to}": it is no version of function "${flags.name}"; \`isotope fn versions ${flags.name}\` shows what there is`,
      );
    await changeObject(
      kube,
      { noun: "alias", type: FUNCTION_ALIASES },
      { namespace, name: aliasName },
      (live) => {
        const { weight: _weight, secondaryVersion: _secondary, packageDigest: _digest, ...spec } = live.spec;
        return { ...live, spec: { ...spec, version: to } };
      },
    );
    if (flags.wait && !flags.detach)
      await waitForAlias(
        kube,
        { namespace, name: aliasName },
        {
          timeoutMs: flags.timeout,
          signal: context.signal,
        },
      );
    context.out(
      `functionalias "${aliasName}" names "${to}" again${from && from !== to ? `, no longer "${from}"` : ""}\n`,
    );
    return 0;
  },
});

async function removable(kube: KubeClient, own: FunctionVersion[], keep: number): Promise<string[]> {
  const uses = await listVersionUses(kube, own);
  return versionsToRemove(own, uses, keep).map(({ metadata }) => metadata.name);
}

const collect: Command = defineCommand({
  noun: "fn",
  verb: "gc-versions",
  summary: "Delete old versions that nothing refers to",
  positionals: PLACE,
  flags: {
    name: NAME,
    keep: {
      type: "integer",
      help: "How many of the newest stay; default: the function's own number, else 10",
      min: 1,
      max: 1000,
    },
    "dry-run": { type: "boolean", aliases: ["dry"], help: "Show what would be deleted" },
  },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const fn = await findFunction(context, flags.name);
    const keep = flags.keep ?? fn.spec.versioning?.retain ?? DEFAULT_RETAINED_VERSIONS;
    const removed = flags["dry-run"]
      ? await removable(kube, await versionsOf(kube, identity(fn, namespace)), keep)
      : await removeOldVersions(kube, fn, keep);
    for (const name of removed)
      context.out(`functionversion "${name}" ${flags["dry-run"] ? "would be deleted" : "deleted"}\n`);
    if (removed.length === 0) context.note(`Function "${flags.name}" has no version to spare`);
    return 0;
  },
});

export const versionCommands: readonly Command[] = [publish, versions, rollback, collect];
