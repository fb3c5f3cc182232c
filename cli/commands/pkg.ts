import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { digestOfArchiveUrl } from "../../api/archive-url.ts";
import { type Archive, type Package, PackageSpec } from "../../api/kinds/index.ts";
import { ANNOTATION_ENTRY, API_GROUP_VERSION } from "../../api/names.ts";
import { ENVIRONMENTS, FUNCTIONS, PACKAGES } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { CODE_FLAGS, codeArchives } from "../code-archive.ts";
import { CliError, type Command, defineCommand, UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { deleteCommand, getCommand, type NounKind, notFound, waitCommand } from "../generic-verbs.ts";
import { checkName, generatedName } from "../names.ts";
import { age, OUTPUT_FLAG, printObjects } from "../output.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";

const KIND: NounKind<Package> = {
  noun: "pkg",
  type: PACKAGES,
  columns: [
    { header: "BUILD", value: ({ status }) => status?.buildstatus },
    { header: "ENV", value: ({ spec }) => spec.environment.name },
    { header: "UPDATED", value: ({ status }) => age(status?.lastUpdateTimestamp) },
  ],
};
const NAME = { type: "string", help: "Name", required: true } as const;
const PLACE = [{ name: "name", help: "Name", flag: "name" }] as const;

/** Whether the environment builds sources. @throws {CliError} when it does not exist. */
export async function environmentBuilds(context: CliContext, name: string): Promise<boolean> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const environment = await kube.find(ENVIRONMENTS, { namespace, name });
  if (!environment) throw notFound("env", "Environment", name, namespace);
  return Boolean(environment.spec.builder?.image);
}

/** Asks for a build by setting the status back, as the reference system's CLI does. */
export async function requestBuild(context: CliContext, name: string): Promise<void> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  await kube.patchStatus(
    PACKAGES,
    { namespace, name },
    { buildstatus: "pending", buildlog: "", lastUpdateTimestamp: new Date().toISOString() },
  );
}

async function existing(context: CliContext, name: string): Promise<Package> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const found = await kube.find(PACKAGES, { namespace, name });
  if (!found) throw notFound("pkg", "Package", name, namespace);
  return found;
}

async function contentOf(
  context: CliContext,
  archive: Archive | undefined,
  what: string,
  name: string,
): Promise<Uint8Array> {
  if (archive?.literal) return Buffer.from(archive.literal, "base64");
  const digest = archive?.url ? digestOfArchiveUrl(archive.url) : undefined;
  if (!digest)
    throw new CliError(
      `Package "${name}" has no ${what} archive in storage${archive?.url ? `: it names "${archive.url}"` : ""}`,
    );
  return (
    await (await context.ops()).call("/v1/archive", { query: { id: `sha256:${digest}` } })
  ).body.bytes();
}

const downloadCommand = (verb: "getsrc" | "getdeploy", field: "source" | "deployment"): Command =>
  defineCommand({
    noun: "pkg",
    verb,
    summary: `Download a package's ${field} archive`,
    positionals: PLACE,
    flags: {
      name: NAME,
      output: { type: "string", short: "o", aliases: ["o"], help: "File; default: stdout" },
    },
    async run({ flags }, context) {
      const bytes = await contentOf(
        context,
        (await existing(context, flags.name)).spec[field],
        field,
        flags.name,
      );
      if (flags.output) writeFileSync(resolve(context.cwd, flags.output), bytes);
      else context.out(Buffer.from(bytes).toString("utf8"));
      return 0;
    },
  });

export const pkgCommands: readonly Command[] = [
  defineCommand({
    noun: "pkg",
    verb: "create",
    summary: "Create a package from a file, folder, archive or URL",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name; default: a generated one" },
      env: { type: "string", help: "Environment", required: true },
      entry: { type: "string", help: "Entry file inside the source" },
      ...CODE_FLAGS,
      ...SAVE_FLAGS,
    },
    async run({ flags }, context) {
      const namespace = await context.namespace();
      const archives = await codeArchives(
        context,
        flags,
        flags.spec || flags.dry ? false : await environmentBuilds(context, flags.env),
      );
      if (!archives.source && !archives.deployment)
        throw new UsageError("one of --code, --sourcearchive, --deployarchive and --oci is required");
      const name = flags.name ? checkName(flags.name) : generatedName(flags.env);
      return createOrSave(
        context,
        PACKAGES,
        {
          apiVersion: API_GROUP_VERSION,
          kind: "Package",
          metadata: {
            name,
            namespace,
            ...(flags.entry ? { annotations: { [ANNOTATION_ENTRY]: flags.entry } } : {}),
          },
          spec: PackageSpec.parse({
            environment: { namespace, name: flags.env },
            ...archives,
            ...(flags.buildcmd ? { buildcmd: flags.buildcmd } : {}),
          }),
        },
        flags,
      );
    },
  }),
  defineCommand({
    noun: "pkg",
    verb: "update",
    summary: "Change a package's content or environment",
    positionals: PLACE,
    flags: {
      name: NAME,
      env: { type: "string", help: "Environment" },
      force: { type: "boolean", short: "f", help: "Change it although several functions share it" },
      ...CODE_FLAGS,
    },
    async run({ flags }, context) {
      const live = await existing(context, flags.name);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const sharers = (await kube.list(FUNCTIONS, { namespace })).items.filter(
        ({ spec }) => spec.package.packageref?.name === flags.name,
      );
      if (sharers.length > 1 && !flags.force)
        throw new CliError(
          `Cannot update package "${flags.name}": ${sharers.length} functions share it (${sharers.map(({ metadata }) => metadata.name).join(", ")}); --force changes all of them`,
        );
      const environment = flags.env ?? live.spec.environment.name ?? "";
      const archives = await codeArchives(context, flags, await environmentBuilds(context, environment));
      await changeObject(kube, KIND, { namespace, name: flags.name }, (current) => {
        const spec = {
          ...current.spec,
          environment: { namespace, name: environment },
          ...archives,
          ...(flags.buildcmd ? { buildcmd: flags.buildcmd } : {}),
        };
        if (archives.deployment && !archives.source) delete spec.source;
        return { ...current, spec };
      });
      context.out(`package "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  defineCommand({
    noun: "pkg",
    verb: "list",
    aliases: ["ls"],
    summary: "List packages",
    flags: {
      orphan: { type: "boolean", help: "Only packages that no function uses" },
      status: {
        type: "string",
        help: "Only packages with this build status",
        choices: ["pending", "running", "succeeded", "failed", "none"],
      },
      "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
      output: OUTPUT_FLAG,
    },
    async run({ flags }, context) {
      const kube = await context.kube();
      const namespace = flags["all-namespaces"] ? undefined : await context.namespace();
      let { items } = await kube.list(PACKAGES, { namespace });
      if (flags.status) items = items.filter(({ status }) => status?.buildstatus === flags.status);
      if (flags.orphan) {
        const used = new Set(
          (await kube.list(FUNCTIONS, { namespace })).items.map(
            ({ metadata, spec }) => `${metadata.namespace}/${spec.package.packageref?.name}`,
          ),
        );
        items = items.filter(({ metadata }) => !used.has(`${metadata.namespace}/${metadata.name}`));
      }
      const place = flags["all-namespaces"]
        ? [{ header: "NAMESPACE", value: ({ metadata }: Package) => metadata.namespace }]
        : [];
      printObjects(
        context,
        items,
        [...place, { header: "NAME", value: ({ metadata }) => metadata.name }, ...KIND.columns],
        { output: flags.output, kind: "packages" },
      );
      return 0;
    },
  }),
  defineCommand({
    noun: "pkg",
    verb: "info",
    summary: "Show a package with its build log",
    positionals: PLACE,
    flags: { name: NAME, output: OUTPUT_FLAG },
    async run({ flags }, context) {
      const found = await existing(context, flags.name);
      if (flags.output) {
        printObjects(context, [found], [], { output: flags.output, kind: "packages", single: true });
        return 0;
      }
      const { status, spec } = found;
      context.out(
        `Name:         ${flags.name}\nEnvironment:  ${spec.environment.name}\nStatus:       ${status?.buildstatus ?? "pending"}\n`,
      );
      if (status?.contentHash) context.out(`Content:      ${status.contentHash}\n`);
      for (const condition of status?.conditions ?? [])
        context.out(`${`${condition.type}:`.padEnd(14)}${condition.status}  ${condition.message}\n`);
      if (status?.buildlog)
        context.out(`Build log:\n${status.buildlog}${status.buildlog.endsWith("\n") ? "" : "\n"}`);
      return 0;
    },
  }),
  downloadCommand("getsrc", "source"),
  downloadCommand("getdeploy", "deployment"),
  defineCommand({
    noun: "pkg",
    verb: "rebuild",
    summary: "Build a package again",
    positionals: PLACE,
    flags: { name: NAME },
    async run({ flags }, context) {
      const found = await existing(context, flags.name);
      if (!found.spec.source)
        throw new CliError(`Cannot build package "${flags.name}": it has no source archive`);
      await requestBuild(context, flags.name);
      context.out(
        `package "${flags.name}" is being built: \`isotope pkg info ${flags.name}\` shows the log\n`,
      );
      return 0;
    },
  }),
  defineCommand({
    noun: "pkg",
    verb: "delete",
    aliases: ["rm"],
    summary: "Delete packages",
    positionals: PLACE,
    flags: {
      name: { type: "string", help: "Name" },
      orphan: { type: "boolean", help: "Delete every package that no function uses" },
      force: { type: "boolean", short: "f", help: "Delete although functions use it" },
      ignorenotfound: { type: "boolean", help: "Succeed when it does not exist" },
    },
    async run(input, context) {
      const { flags } = input;
      if (Boolean(flags.name) === flags.orphan) throw new UsageError("either --name or --orphan is required");
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const users = (await kube.list(FUNCTIONS, { namespace })).items;
      if (flags.orphan) {
        const used = new Set(users.map(({ spec }) => spec.package.packageref?.name));
        for (const { metadata } of (await kube.list(PACKAGES, { namespace })).items.filter(
          (item) => !used.has(item.metadata.name),
        )) {
          await kube.delete(PACKAGES, { namespace, name: metadata.name });
          context.out(`package "${metadata.name}" deleted\n`);
        }
        return 0;
      }
      const sharers = users
        .filter(({ spec }) => spec.package.packageref?.name === flags.name)
        .map(({ metadata }) => metadata.name);
      if (sharers.length > 0 && !flags.force)
        throw new CliError(
          `Cannot delete package "${flags.name}": functions use it (${sharers.join(", ")}); --force deletes it all the same`,
        );
      return deleteCommand(KIND).run(input, context);
    },
  }),
  waitCommand(KIND),
];
