import type { FunctionAlias } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import {
  CliError,
  type Command,
  defineCommand,
  type Flags,
  type FlagValues,
  UsageError,
} from "../command.ts";
import type { CliContext } from "../context.ts";
import {
  deleteCommand,
  getCommand,
  listCommand,
  type NounKind,
  notFound,
  waitCommand,
} from "../generic-verbs.ts";
import { checkName } from "../names.ts";
import { checkSticky, STICKY_FLAG, withSticky } from "../releases/sticky-flag.ts";
import { waitForAlias } from "../releases/wait-for-alias.ts";

/** `hello-v2 90 %, hello-v3 10 %` */
const traffic = ({ spec, status }: FunctionAlias): string => {
  const primary = spec.version ?? status?.resolvedVersion ?? spec.packageDigest ?? "";
  const weight = spec.weight ?? 100;
  return spec.secondaryVersion && weight < 100
    ? `${primary} ${weight} %, ${spec.secondaryVersion} ${100 - weight} %`
    : primary;
};

const KIND: NounKind<FunctionAlias> = {
  noun: "alias",
  type: FUNCTION_ALIASES,
  columns: [
    { header: "FUNCTION", value: ({ spec }) => spec.functionName },
    { header: "TRAFFIC", value: traffic },
    {
      header: "RESOLVED",
      value: ({ status }) => status?.conditions?.find(({ type }) => type === "Resolved")?.status ?? "Unknown",
    },
    { header: "HISTORY", value: ({ status }) => status?.history?.length ?? 0, wide: true },
  ],
};

const TARGET_FLAGS = {
  version: { type: "string", help: "Version that the alias names" },
  "package-digest": { type: "string", help: "Name the newest version with this package instead, sha256:…" },
  weight: {
    type: "integer",
    help: "Share of --version in percent; the rest goes to --secondary-version",
    min: 0,
    max: 100,
  },
  "secondary-version": { type: "string", help: "Version that gets the rest of the traffic" },
  sticky: STICKY_FLAG,
  wait: { type: "boolean", help: "Wait until the alias is resolved" },
  timeout: { type: "duration", help: "How long to wait", default: 60_000 },
} as const satisfies Flags;
type Values = FlagValues<typeof TARGET_FLAGS>;
type Spec = FunctionAlias["spec"];

/** @throws {UsageError} for a split that names only one side. */
function applyTarget(spec: Spec, flags: Values): Spec {
  if (flags.version && flags["package-digest"])
    throw new UsageError("--version and --package-digest exclude each other");
  const next: Spec = { ...spec };
  if (flags.version) {
    next.version = flags.version;
    delete next.packageDigest;
  }
  if (flags["package-digest"]) {
    next.packageDigest = flags["package-digest"];
    delete next.version;
  }
  if (flags.weight !== undefined) next.weight = flags.weight;
  if (flags["secondary-version"]) next.secondaryVersion = flags["secondary-version"];
  if (next.weight !== undefined && next.weight < 100 && !next.secondaryVersion)
    throw new UsageError(
      `--weight ${next.weight} needs --secondary-version: somebody has to take the other ${100 - next.weight} %`,
    );
  if (next.secondaryVersion && next.secondaryVersion === next.version)
    throw new UsageError(`--version and --secondary-version must differ, got "${next.version}" twice`);
  return next;
}

/** @throws {CliError} when a version is not one of the function's */
async function checkVersions(
  context: CliContext,
  functionName: string,
  versions: readonly (string | undefined)[],
): Promise<void> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  for (const name of versions) {
    if (name === undefined) continue;
    const found = await kube.find(FUNCTION_VERSIONS, { namespace, name });
    if (found?.spec.functionName === functionName) continue;
    throw new CliError(
      found
        ? `Version "${name}" is one of function "${found.spec.functionName}", not of "${functionName}"`
        : `Version "${name}" not found in namespace "${namespace}": \`isotope fn versions ${functionName}\` shows what there is`,
    );
  }
}

async function settled(context: CliContext, name: string, flags: Values): Promise<void> {
  if (!flags.wait) return;
  await waitForAlias(
    await context.kube(),
    { namespace: await context.namespace(), name },
    {
      timeoutMs: flags.timeout,
      signal: context.signal,
    },
  );
}

export const aliasCommands: readonly Command[] = [
  defineCommand({
    noun: "alias",
    verb: "create",
    summary: "Give one or two versions of a function a name that routes can use",
    examples: [
      "isotope alias create live --function hello --version hello-v1",
      "isotope alias create live --function hello --version hello-v1 --weight 90 --secondary-version hello-v2",
    ],
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      function: { type: "string", help: "Function that the versions belong to", required: true },
      ...TARGET_FLAGS,
    },
    async run({ flags }, context) {
      const name = checkName(flags.name);
      if (!flags.version && !flags["package-digest"])
        throw new UsageError("one of --version and --package-digest is required");
      const spec = applyTarget({ functionName: flags.function }, flags);
      checkSticky(flags.sticky);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      if (!(await kube.find(FUNCTIONS, { namespace, name: flags.function })))
        throw notFound("fn", "Function", flags.function, namespace);
      await checkVersions(context, flags.function, [flags.version, flags["secondary-version"]]);
      if (await kube.find(FUNCTION_ALIASES, { namespace, name }))
        throw new CliError(
          `FunctionAlias "${name}" exists already in namespace "${namespace}": change it with \`isotope alias update\`, or delete it first`,
        );
      await kube.create(
        FUNCTION_ALIASES,
        withSticky(
          { apiVersion: API_GROUP_VERSION, kind: "FunctionAlias", metadata: { name, namespace }, spec },
          flags.sticky,
        ),
      );
      await settled(context, name, flags);
      context.out(`functionalias "${name}" created\n`);
      return 0;
    },
  }),
  defineCommand({
    noun: "alias",
    verb: "update",
    summary: "Point an alias at another version, or split its traffic",
    examples: [
      "isotope alias update live --version hello-v2",
      "isotope alias update live --weight 50 --secondary-version hello-v2",
      "isotope alias update live --clear-weight",
    ],
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      ...TARGET_FLAGS,
      "clear-weight": { type: "boolean", help: "End the split: all traffic to the version" },
    },
    async run({ flags }, context) {
      if (flags["clear-weight"] && (flags.weight !== undefined || flags["secondary-version"]))
        throw new UsageError("--clear-weight excludes --weight and --secondary-version");
      checkSticky(flags.sticky);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const live = await kube.find(FUNCTION_ALIASES, { namespace, name: flags.name });
      if (!live) throw notFound("alias", "FunctionAlias", flags.name, namespace);
      await checkVersions(context, live.spec.functionName, [flags.version, flags["secondary-version"]]);
      await changeObject(kube, KIND, { namespace, name: flags.name }, (current) => {
        const spec = { ...current.spec };
        if (flags["clear-weight"]) {
          delete spec.weight;
          delete spec.secondaryVersion;
        }
        return withSticky({ ...current, spec: applyTarget(spec, flags) }, flags.sticky);
      });
      await settled(context, flags.name, flags);
      context.out(`functionalias "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND, {
    flag: "function",
    help: "Only aliases of this function",
    keep: ({ spec }, name) => spec.functionName === name,
  }),
  deleteCommand(KIND),
  waitCommand(KIND),
];
