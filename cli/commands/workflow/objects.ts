import { dirname, join, resolve } from "node:path";
import { stringify } from "yaml";
import type { Workflow } from "../../../api/kinds/index.ts";
import { WorkflowSpec } from "../../../api/kinds/workflow.ts";
import { API_GROUP_VERSION } from "../../../api/names.ts";
import { FUNCTIONS, WORKFLOWS } from "../../../kube/kinds.ts";
import { checkFormat, type FormatProblem } from "../../../workflows/format/check-format.ts";
import { functionsOf } from "../../../workflows/format/functions-of.ts";
import { FormatSpec } from "../../../workflows/format/spec.ts";
import { changeObject } from "../../change-object.ts";
import { CliError, type Command, defineCommand, UsageError } from "../../command.ts";
import type { CliContext } from "../../context.ts";
import { deleteCommand, getCommand, listCommand, type NounKind, waitCommand } from "../../generic-verbs.ts";
import { checkName } from "../../names.ts";
import { createOrSave, SAVE_FLAGS } from "../../save.ts";
import { checkWorkflowCode } from "../../workflows/check-workflow-code.ts";
import {
  readWorkflowFile,
  withFunctionTypes,
  type WorkflowFile,
} from "../../workflows/read-workflow-file.ts";

const KIND: NounKind<Workflow> = {
  noun: "workflow",
  type: WORKFLOWS,
  columns: [
    {
      header: "VALIDATED",
      value: ({ status }) =>
        status?.conditions?.find(({ type }) => type === "Validated")?.status ?? "Unknown",
    },
    { header: "TIMEOUT", value: ({ spec }) => spec.timeout, wide: true },
  ],
};

const FILE_FLAG = {
  type: "string",
  short: "f",
  help: "YAML or JSON of a Workflow, or of its spec alone; - for stdin",
  required: true,
} as const;

const nameOf = (file: WorkflowFile, given: string | undefined): string => {
  const name = given ?? file.name;
  if (name === undefined) throw new UsageError(`--name is needed: "${file.path}" names no workflow`);
  return checkName(name);
};

const problemLines = (path: string, problems: readonly FormatProblem[]): string =>
  problems
    .map(({ place, message }) =>
      IN_FILE.test(place)
        ? `${join(dirname(path), place)}: ${message}\n`
        : `${path}: ${place === "" ? "" : `${place}: `}${message}\n`,
    )
    .join("");
/** A place that names its file, from the folder of the one that is checked. */
const IN_FILE = /^[^:]+:\d+:\d+$/;

/** @throws {CliError} listing all that is wrong */
function checkedSpec(file: WorkflowFile): WorkflowSpec {
  const spec = withFunctionTypes(file.spec);
  const problems = "startAt" in spec || "states" in spec ? checkFormat(spec) : [];
  if (problems.length > 0)
    throw new CliError(
      `"${file.path}" is no valid workflow:\n${problemLines(file.path, problems).trimEnd()}`,
    );
  return WorkflowSpec.parse(spec);
}

const create = defineCommand({
  noun: "workflow",
  verb: "create",
  summary: "Create a workflow from a file",
  description:
    "For workflows in the startAt/states format, as the reference system has it. Workflows in TypeScript are deployed by `isotope deploy`.",
  examples: [
    "isotope workflow create -f order.yaml",
    "isotope workflow create -f order.yaml --name order-test --dry",
  ],
  flags: {
    file: FILE_FLAG,
    name: { type: "string", help: "Name; default: that in the file" },
    ...SAVE_FLAGS,
  },
  async run({ flags }, context) {
    const file = await readWorkflowFile(context, flags.file);
    const name = nameOf(file, flags.name);
    const namespace = await context.namespace();
    return createOrSave(
      context,
      WORKFLOWS,
      {
        apiVersion: API_GROUP_VERSION,
        kind: "Workflow",
        metadata: { ...stringMaps(file.metadata), name, namespace },
        spec: checkedSpec(file),
      },
      flags,
    );
  },
});

/** Labels and annotations of a file. */
function stringMaps(metadata: Readonly<Record<string, unknown>>) {
  const maps: { labels?: Record<string, string>; annotations?: Record<string, string> } = {};
  for (const key of ["labels", "annotations"] as const) {
    const value = metadata[key];
    if (typeof value === "object" && value !== null)
      maps[key] = Object.fromEntries(Object.entries(value).map(([name, text]) => [name, String(text)]));
  }
  return maps;
}

const update = defineCommand({
  noun: "workflow",
  verb: "update",
  summary: "Change a workflow to what a file says; runs go on with what they were started with",
  examples: ["isotope workflow update -f order.yaml"],
  flags: { file: FILE_FLAG, name: { type: "string", help: "Name; default: that in the file" } },
  async run({ flags }, context) {
    const file = await readWorkflowFile(context, flags.file);
    const name = nameOf(file, flags.name);
    const spec = checkedSpec(file);
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    await changeObject(kube, KIND, { namespace, name }, (live) => ({ ...live, spec }));
    context.out(`workflow "${name}" updated\n`);
    return 0;
  },
});

const validate = defineCommand({
  noun: "workflow",
  verb: "validate",
  summary: "Say what is wrong with a workflow in a file, without creating it",
  description:
    "Checks the graph (names, unreachable states, ends), paths, durations and conditions. Online it also looks whether the functions, aliases\nand versions exist.",
  examples: [
    "isotope workflow validate -f order.yaml --offline",
    "isotope workflow validate -f workflows/order.ts",
  ],
  flags: {
    file: { ...FILE_FLAG, help: `${FILE_FLAG.help}; or a TypeScript file` },
    name: { type: "string", help: "Name; default: that in the file" },
    export: { type: "string", help: "Export of a TypeScript file that is the workflow", default: "default" },
    offline: { type: "boolean", help: "Do not look whether its functions exist" },
    output: { type: "string", short: "o", aliases: ["o"], help: "Output format", choices: ["json", "yaml"] },
  },
  async run({ flags }, context) {
    const { problems, functions } = CODE_FILE.test(flags.file)
      ? await checkWorkflowCode(resolve(context.cwd, flags.file), flags.export)
      : await checkedFile(context, flags);
    if (problems.length === 0 && !flags.offline)
      problems.push(...(await unknownFunctions(context, functions)));
    if (flags.output) {
      const value = { valid: problems.length === 0, problems };
      context.out(flags.output === "json" ? `${JSON.stringify(value, null, 2)}\n` : stringify(value));
    } else if (problems.length === 0) context.out(`"${flags.file}" is a valid workflow\n`);
    else context.out(problemLines(flags.file, problems));
    return problems.length === 0 ? 0 : 1;
  },
});

const CODE_FILE = /\.[cm]?[jt]sx?$/;

async function checkedFile(context: CliContext, flags: { file: string; name: string | undefined }) {
  const file = await readWorkflowFile(context, flags.file);
  const name = flags.name ?? file.name;
  if (name !== undefined) checkName(name);
  const spec = withFunctionTypes(file.spec);
  const problems = [...checkFormat(spec)];
  return { problems, functions: problems.length === 0 ? functionsOf(FormatSpec.parse(spec)) : [] };
}

async function unknownFunctions(
  context: CliContext,
  functions: readonly { place: string; name: string }[],
): Promise<FormatProblem[]> {
  const kube = await context.kube();
  const namespace = await context.namespace();
  const { items } = await kube.list(FUNCTIONS, { namespace });
  const known = new Set(items.map(({ metadata }) => metadata.name));
  return functions
    .filter(({ name }) => !known.has(name))
    .map(({ place, name }) => ({
      place,
      message: `there is no function "${name}" in namespace "${namespace}": \`isotope fn list\` shows what there is`,
    }));
}

/** Verbs for workflows as objects. */
export const workflowObjectCommands: readonly Command[] = [
  create,
  update,
  listCommand(KIND),
  getCommand(KIND),
  deleteCommand(KIND),
  waitCommand(KIND),
  validate,
];
