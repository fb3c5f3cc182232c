import type { z } from "zod";
import {
  type FunctionReference,
  isFieldPath,
  type KubernetesWatchTrigger,
  KubernetesWatchTriggerSpec,
  WATCH_EVENTS,
  WATCH_TYPES,
} from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { FUNCTIONS, KUBERNETES_WATCH_TRIGGERS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { type Command, defineCommand, type Flags, type FlagValues, UsageError } from "../command.ts";
import { fieldFlag } from "../field-flag.ts";
import {
  deleteCommand,
  getCommand,
  listCommand,
  type NounKind,
  notFound,
  waitCommand,
} from "../generic-verbs.ts";
import { checkName, generatedName, parsePairList } from "../names.ts";
import { age } from "../output.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";
import { didYouMean } from "../suggest.ts";
import { functionRef, TARGET_FLAGS, targetText } from "../target-flags.ts";

type Spec = z.infer<typeof KubernetesWatchTriggerSpec>;

const RETARGET = ["function", "workflow", "weight", "function-alias", "function-version"];

function connection(status: KubernetesWatchTrigger["status"]): string {
  if (status?.connected) return "yes";
  return status?.conditions?.find(({ type }) => type === "Subscribed")?.reason ?? "-";
}

const KIND: NounKind<KubernetesWatchTrigger> = {
  noun: "watch",
  type: KUBERNETES_WATCH_TRIGGERS,
  columns: [
    { header: "OBJECTS", value: ({ spec }) => spec.kind ?? spec.type?.toLowerCase() },
    { header: "FUNCTION", value: ({ spec }) => targetText(spec.functionref) },
    { header: "CONNECTED", value: ({ status }) => connection(status) },
    { header: "LAG", value: ({ status }) => String(status?.lag ?? "-"), wide: true },
    { header: "LAST", value: ({ status }) => (status?.lastEventTime ? age(status.lastEventTime) : "-") },
  ],
};

const SHARED = {
  ...TARGET_FLAGS,
  workflow: { type: "string", help: "Workflow of which a run is started, instead of --function" },
  type: {
    type: "string",
    help: "pod (default), service, replicationcontroller or job; any other by --kind",
  },
  "api-version": fieldFlag(KubernetesWatchTriggerSpec, "apiVersion", { type: "string" }),
  kind: fieldFlag(KubernetesWatchTriggerSpec, "kind", { type: "string" }),
  label: { type: "strings", help: "Label that the objects must have, k=v" },
  selector: fieldFlag(KubernetesWatchTriggerSpec, "selector", { type: "string", short: "l" }),
  "field-selector": fieldFlag(KubernetesWatchTriggerSpec, "fieldselector", { type: "string" }),
  event: { type: "strings", help: "ADDED, MODIFIED or DELETED, several with commas between; default: all" },
  field: {
    type: "strings",
    help: "MODIFIED counts only when one of these paths has changed, e.g. status.phase",
  },
  "include-existing": fieldFlag(KubernetesWatchTriggerSpec, "includeExisting", { type: "boolean" }),
  serviceaccount: fieldFlag(KubernetesWatchTriggerSpec, "serviceAccount", { type: "string" }),
} as const satisfies Flags;
type Values = FlagValues<typeof SHARED>;

/** What is watched, by the flags; nothing when they name nothing. @throws {UsageError} */
function objectsOf({ type, kind, "api-version": apiVersion }: Values): Partial<Spec> {
  if ((kind === undefined) !== (apiVersion === undefined))
    throw new UsageError("--kind and --api-version go together");
  if (type !== undefined && kind !== undefined) throw new UsageError("--type excludes --kind");
  if (kind !== undefined) return { kind, apiVersion };
  if (type === undefined) return {};
  const short = WATCH_TYPES.find((known) => known === type.toUpperCase());
  if (short !== undefined) return { type: short };
  throw new UsageError(
    `--type must be one of ${WATCH_TYPES.join(", ").toLowerCase()}, got "${type}"; any other kind by --api-version and --kind`,
  );
}

function target(functions: readonly string[], flags: Values): FunctionReference {
  if (flags.workflow === undefined) return functionRef(functions, flags);
  if (functions.length > 0) throw new UsageError("--function and --workflow exclude each other");
  return { type: "workflow", name: flags.workflow };
}

const FLAG_OF: Readonly<Record<string, string>> = {
  fields: "field",
  fieldselector: "field-selector",
  labelselector: "label",
  serviceAccount: "serviceaccount",
  apiVersion: "api-version",
};

/** Repeated, or with commas between. @throws {UsageError} */
function eventsOf(texts: readonly string[]): Spec["events"] {
  return texts
    .flatMap((text) => text.split(","))
    .map((text) => {
      const event = WATCH_EVENTS.find((known) => known === text.trim().toUpperCase());
      if (event !== undefined) return event;
      throw new UsageError(
        `--event must be one of ${WATCH_EVENTS.map((known) => `"${known}"`).join(", ")}, got "${text}"${didYouMean(text, WATCH_EVENTS)}`,
      );
    });
}

/** The spec with what the flags say. @throws {UsageError} */
function applyFlags(spec: Spec, flags: Values, given: ReadonlySet<string>): Spec {
  const objects = objectsOf(flags);
  const { type: _type, kind: _kind, apiVersion: _apiVersion, ...rest } = spec;
  const next = {
    ...(Object.keys(objects).length > 0 ? { ...rest, ...objects } : spec),
    ...(given.has("label") ? { labelselector: parsePairList(flags.label, "--label") } : {}),
    ...(given.has("selector") ? { selector: flags.selector } : {}),
    ...(given.has("field-selector") ? { fieldselector: flags["field-selector"] } : {}),
    ...(given.has("event") ? { events: eventsOf(flags.event) } : {}),
    ...(given.has("field") ? { fields: flags.field } : {}),
    ...(given.has("include-existing") ? { includeExisting: flags["include-existing"] } : {}),
    ...(given.has("serviceaccount") ? { serviceAccount: flags.serviceaccount } : {}),
  };
  const wrong = (next.fields ?? []).find((path) => !isFieldPath(path));
  if (wrong !== undefined)
    throw new UsageError(
      `--field must be a path such as status.phase, metadata.labels['app'] or status.containerStatuses[*].restartCount, got "${wrong}"`,
    );
  const parsed = KubernetesWatchTriggerSpec.safeParse(next);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = String(issue?.path[0]);
  const value: unknown = Reflect.get(next, field);
  throw new UsageError(`--${FLAG_OF[field] ?? field}: ${issue?.message ?? ""}, got ${JSON.stringify(value)}`);
}

export const watchCommands: readonly Command[] = [
  defineCommand({
    noun: "watch",
    verb: "create",
    summary: "Call a function when Kubernetes objects change",
    examples: [
      "isotope watch create --function on-pod --type pod --event MODIFIED --field status.phase",
      "isotope watch create --function on-deploy --api-version apps/v1 --kind Deployment --selector 'tier in (web, api)' --serviceaccount watcher",
    ],
    flags: {
      name: { type: "string", help: "Name; default: a generated one" },
      function: { type: "strings", help: "Function to call; several with --weight" },
      ...SHARED,
      ...SAVE_FLAGS,
    },
    async run({ flags, given }, context) {
      const namespace = await context.namespace();
      const functionref = target(flags.function, flags);
      const objects = flags.kind === undefined ? { type: "POD" } : {};
      const spec = applyFlags({ namespace, functionref, ...objects }, flags, given);
      if (!flags.spec && !flags.dry) {
        const kube = await context.kube();
        for (const name of flags.function)
          if (!(await kube.find(FUNCTIONS, { namespace, name })))
            context.note(`Warning: function "${name}" does not exist in namespace "${namespace}" yet`);
      }
      const name = flags.name ? checkName(flags.name) : generatedName(functionref.name);
      const watch: KubernetesWatchTrigger = {
        apiVersion: API_GROUP_VERSION,
        kind: "KubernetesWatchTrigger",
        metadata: { name, namespace },
        spec,
      };
      return createOrSave(context, KUBERNETES_WATCH_TRIGGERS, watch, flags);
    },
  }),
  defineCommand({
    noun: "watch",
    verb: "update",
    summary: "Change a watch; with other objects or another selection it begins anew",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      function: { type: "strings", help: "Function to call; several with --weight" },
      ...SHARED,
    },
    async run({ flags, given }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      await changeObject(kube, KIND, { namespace, name: flags.name }, (live) => {
        const spec = applyFlags(live.spec, flags, given);
        if (!RETARGET.some((flag) => given.has(flag))) return { ...live, spec };
        const names =
          flags.function.length > 0 || flags.workflow ? flags.function : [live.spec.functionref.name];
        return { ...live, spec: { ...spec, functionref: target(names, flags) } };
      });
      context.out(`kuberneteswatchtrigger "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND, {
    flag: "function",
    help: "Only watches of this function",
    keep: ({ spec: { functionref } }, name) =>
      functionref.name === name || Object.hasOwn(functionref.functionweights ?? {}, name),
  }),
  defineCommand({
    noun: "watch",
    verb: "delete",
    aliases: ["rm"],
    summary: "Delete a watch, or all watches of a function",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name" },
      function: { type: "string", help: "Delete all watches of this function" },
      force: { type: "boolean", short: "f", help: "Accepted for symmetry" },
      ignorenotfound: { type: "boolean", help: "Succeed when it does not exist" },
    },
    async run(input, context) {
      const { flags } = input;
      if (Boolean(flags.name) === Boolean(flags.function))
        throw new UsageError("either --name or --function is required");
      if (flags.name) return deleteCommand(KIND).run(input, context);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const watches = (await kube.list(KUBERNETES_WATCH_TRIGGERS, { namespace })).items.filter(
        ({ spec }) => spec.functionref.name === flags.function,
      );
      if (watches.length === 0 && !flags.ignorenotfound)
        throw notFound("watch", "Watch of function", flags.function ?? "", namespace);
      for (const { metadata } of watches) {
        await kube.delete(KUBERNETES_WATCH_TRIGGERS, { namespace, name: metadata.name });
        context.out(`kuberneteswatchtrigger "${metadata.name}" deleted\n`);
      }
      return 0;
    },
  }),
  waitCommand(KIND),
];
