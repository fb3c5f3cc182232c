import type { Environment } from "../../api/kinds/index.ts";
import { EnvironmentSpec } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { PodList } from "../../api/wire/ops.ts";
import { ENVIRONMENTS, FUNCTIONS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { CliError, type Command, defineCommand, type Flags, type FlagValues } from "../command.ts";
import { fieldFlag } from "../field-flag.ts";
import { deleteCommand, getCommand, listCommand, type NounKind, waitCommand } from "../generic-verbs.ts";
import { checkName, parsePairList, parsePairs } from "../names.ts";
import { OUTPUT_FLAG } from "../output.ts";
import { resourcesOf, RESOURCE_FLAGS } from "../resource-flags.ts";
import { printPods } from "../pods-table.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";

const KIND: NounKind<Environment> = {
  noun: "env",
  type: ENVIRONMENTS,
  columns: [
    { header: "IMAGE", value: ({ spec }) => spec.runtime.image },
    { header: "BUILDER", value: ({ spec }) => spec.builder?.image },
    { header: "POOLSIZE", value: ({ spec }) => spec.poolsize },
    { header: "VERSION", value: ({ spec }) => spec.version, wide: true },
  ],
};

const SHARED = {
  poolsize: fieldFlag(EnvironmentSpec, "poolsize", { type: "integer" }),
  builder: fieldFlag(EnvironmentSpec, "builder.image", { type: "string" }),
  buildcmd: fieldFlag(EnvironmentSpec, "builder.command", { type: "string" }),
  graceperiod: fieldFlag(EnvironmentSpec, "terminationGracePeriod", { type: "integer", aliases: ["period"] }),
  imagepullsecret: { type: "string", help: "Secret with the registry's credentials" },
  keeparchive: fieldFlag(EnvironmentSpec, "keeparchive", { type: "boolean" }),
  externalnetwork: { type: "boolean", help: "Allow pods to reach outside the cluster" },
  labels: { type: "string", help: "Labels, k=v,k2=v2" },
  annotation: { type: "strings", help: "Annotation, k=v" },
  "builder-env": { type: "strings", help: "Variable of the builder, k=v" },
  "runtime-env": { type: "strings", help: "Variable of the runtime, k=v" },
  ...RESOURCE_FLAGS,
} as const satisfies Flags;

const containerEnv = (pairs: readonly string[], flag: string) => {
  const env = Object.entries(parsePairList(pairs, flag)).map(([name, value]) => ({ name, value }));
  return env.length > 0 ? { container: { env } } : {};
};

type Values = FlagValues<typeof SHARED> & { image: string | undefined };

/** The spec with what the flags of `update` say. */
function changedSpec(
  live: Environment["spec"],
  flags: Values,
  given: ReadonlySet<string>,
): Environment["spec"] {
  const spec = structuredClone(live);
  if (flags.image) spec.runtime.image = flags.image;
  if (flags.builder) spec.builder = { ...spec.builder, image: flags.builder };
  if (flags.buildcmd) spec.builder = { ...spec.builder, command: flags.buildcmd };
  if (flags["runtime-env"].length > 0)
    Object.assign(spec.runtime, containerEnv(flags["runtime-env"], "--runtime-env"));
  if (flags.poolsize !== undefined) spec.poolsize = flags.poolsize;
  if (flags.graceperiod !== undefined) spec.terminationGracePeriod = flags.graceperiod;
  if (flags.imagepullsecret) spec.imagepullsecret = flags.imagepullsecret;
  if (given.has("keeparchive")) spec.keeparchive = flags.keeparchive;
  if (given.has("externalnetwork")) spec.allowAccessToExternalNetwork = flags.externalnetwork;
  const resources = resourcesOf(flags, spec.resources);
  if (resources) spec.resources = resources;
  return spec;
}

export const envCommands: readonly Command[] = [
  defineCommand({
    noun: "env",
    verb: "create",
    summary: "Create an environment",
    examples: [
      "isotope env create --name deno --image isotope/deno-env --builder isotope/builder --poolsize 3",
    ],
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      image: fieldFlag(EnvironmentSpec, "runtime.image", { type: "string", required: true }),
      version: fieldFlag(EnvironmentSpec, "version", { type: "integer", default: 3 }),
      ...SHARED,
      ...SAVE_FLAGS,
    },
    async run({ flags, given }, context) {
      const namespace = await context.namespace();
      const resources = resourcesOf(flags);
      const builder = {
        ...(flags.builder ? { image: flags.builder } : {}),
        ...(flags.buildcmd ? { command: flags.buildcmd } : {}),
        ...containerEnv(flags["builder-env"], "--builder-env"),
      };
      const environment: Environment = {
        apiVersion: API_GROUP_VERSION,
        kind: "Environment",
        metadata: {
          name: checkName(flags.name),
          namespace,
          labels: parsePairs(flags.labels, "--labels"),
          annotations: parsePairList(flags.annotation, "--annotation"),
        },
        spec: EnvironmentSpec.parse({
          version: flags.version,
          runtime: { image: flags.image, ...containerEnv(flags["runtime-env"], "--runtime-env") },
          poolsize: flags.poolsize ?? 3,
          ...(Object.keys(builder).length > 0 ? { builder } : {}),
          ...(flags.graceperiod === undefined ? {} : { terminationGracePeriod: flags.graceperiod }),
          ...(flags.imagepullsecret ? { imagepullsecret: flags.imagepullsecret } : {}),
          ...(given.has("keeparchive") ? { keeparchive: flags.keeparchive } : {}),
          ...(given.has("externalnetwork") ? { allowAccessToExternalNetwork: flags.externalnetwork } : {}),
          ...(resources ? { resources } : {}),
        }),
      };
      return createOrSave(context, ENVIRONMENTS, environment, flags);
    },
  }),
  defineCommand({
    noun: "env",
    verb: "update",
    summary: "Change an environment",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      image: fieldFlag(EnvironmentSpec, "runtime.image", { type: "string" }),
      ...SHARED,
    },
    async run({ flags, given }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      await changeObject(kube, KIND, { namespace, name: flags.name }, (live) => ({
        ...live,
        metadata: {
          ...live.metadata,
          labels: { ...live.metadata.labels, ...parsePairs(flags.labels, "--labels") },
          annotations: { ...live.metadata.annotations, ...parsePairList(flags.annotation, "--annotation") },
        },
        spec: changedSpec(live.spec, flags, given),
      }));
      context.out(`environment "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND),
  defineCommand({
    noun: "env",
    verb: "delete",
    aliases: ["rm"],
    summary: "Delete an environment",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      ignorenotfound: { type: "boolean", help: "Succeed when it does not exist" },
      force: { type: "boolean", short: "f", help: "Delete although functions use it" },
    },
    async run(input, context) {
      const { flags } = input;
      if (!flags.force) {
        const [kube, namespace] = [await context.kube(), await context.namespace()];
        const users = (await kube.list(FUNCTIONS, { namespace })).items
          .filter(({ spec }) => spec.environment.name === flags.name)
          .map(({ metadata }) => metadata.name);
        if (users.length > 0)
          throw new CliError(
            `Cannot delete environment "${flags.name}": functions use it (${users.slice(0, 5).join(", ")}${users.length > 5 ? ", …" : ""}); --force deletes it all the same`,
          );
      }
      return deleteCommand(KIND).run(input, context);
    },
  }),
  defineCommand({
    noun: "env",
    verb: "pods",
    aliases: ["pod", "po"],
    summary: "Show an environment's pods",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      executortype: { type: "string", help: "Only pods of this executor" },
      output: OUTPUT_FLAG,
    },
    async run({ flags }, context) {
      const reply = await (await context.ops()).call("/v1/pods", {
        query: { namespace: await context.namespace(), environment: flags.name },
      });
      printPods(context, PodList.parse(await reply.body.json()).pods, flags.output);
      return 0;
    },
  }),
  defineCommand({
    noun: "env",
    verb: "impact",
    summary: "Show which functions and packages use an environment",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: { name: { type: "string", help: "Name", required: true }, output: OUTPUT_FLAG },
    async run({ flags }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const users = (await kube.list(FUNCTIONS, { namespace })).items.filter(
        ({ spec }) => spec.environment.name === flags.name,
      );
      for (const { metadata } of users) context.out(`function/${metadata.name}\n`);
      if (users.length === 0) context.note(`Nothing uses environment "${flags.name}"`);
      return 0;
    },
  }),
  waitCommand(KIND),
];
