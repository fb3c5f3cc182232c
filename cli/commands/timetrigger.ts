import type { z } from "zod";
import { type FunctionReference, type TimeTrigger, TimeTriggerSpec } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { FUNCTIONS, TIME_TRIGGERS } from "../../kube/kinds.ts";
import { timerCallFault } from "../../api/timer-call-fault.ts";
import { scheduleFault } from "../../net/calendar/cron-fault.ts";
import { scheduleOf, upcoming } from "../../net/calendar/schedule.ts";
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
import { checkName, generatedName } from "../names.ts";
import { age, table } from "../output.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";
import { functionRef, TARGET_FLAGS, targetText } from "../target-flags.ts";
import { checkMethods } from "./route-flags.ts";

type Spec = z.infer<typeof TimeTriggerSpec>;

const KIND: NounKind<TimeTrigger> = {
  noun: "timetrigger",
  type: TIME_TRIGGERS,
  columns: [
    { header: "CRON", value: ({ spec }) => spec.cron },
    { header: "ZONE", value: ({ spec }) => spec.timeZone ?? "", wide: true },
    { header: "FUNCTION", value: ({ spec }) => targetText(spec.functionref) },
    {
      header: "LAST",
      value: ({ status }) => (status?.lastScheduleTime ? age(status.lastScheduleTime) : "-"),
    },
    {
      header: "NEXT",
      value: ({ spec, status }) => (spec.suspend ? "suspended" : (status?.nextFires?.[0] ?? "-")),
    },
  ],
};

const SCHEDULE_FLAGS = {
  timezone: fieldFlag(TimeTriggerSpec, "timeZone", { type: "string" }),
  start: fieldFlag(TimeTriggerSpec, "startTime", {
    type: "string",
    help: "Nothing fires before this time; @every counts from it",
  }),
  end: fieldFlag(TimeTriggerSpec, "endTime", {
    type: "string",
    help: "Nothing fires at this time or after it",
  }),
} as const satisfies Flags;

const SHARED = {
  ...TARGET_FLAGS,
  workflow: { type: "string", help: "Workflow of which a run is started, instead of --function" },
  method: { type: "string", help: "Method of the call; default POST" },
  subpath: { type: "string", help: "Path of the call; default /" },
  header: { type: "strings", short: "H", help: 'Header of the call, "Name: value"' },
  body: fieldFlag(TimeTriggerSpec, "body", { type: "string", short: "b" }),
  ...SCHEDULE_FLAGS,
  jitter: fieldFlag(TimeTriggerSpec, "jitter", { type: "string" }),
  suspend: fieldFlag(TimeTriggerSpec, "suspend", { type: "boolean" }),
  "concurrency-policy": fieldFlag(TimeTriggerSpec, "concurrencyPolicy", { type: "string" }),
  "starting-deadline": fieldFlag(TimeTriggerSpec, "startingDeadlineSeconds", { type: "integer" }),
  "catch-up": fieldFlag(TimeTriggerSpec, "catchUp", { type: "string" }),
  "catch-up-limit": fieldFlag(TimeTriggerSpec, "catchUpLimit", { type: "integer" }),
} as const satisfies Flags;
type Values = FlagValues<typeof SHARED> & { cron?: string | undefined };

function target(functions: readonly string[], flags: Values): FunctionReference {
  if (flags.workflow === undefined) return functionRef(functions, flags);
  if (functions.length > 0) throw new UsageError("--function and --workflow exclude each other");
  return { type: "workflow", name: flags.workflow };
}

function headersOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const colon = text.indexOf(":");
      if (colon < 1) throw new UsageError(`--header must be "Name: value", got "${text}"`);
      return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
    }),
  );
}

const FIELDS = {
  cron: "cron",
  body: "body",
  subpath: "subpath",
  timezone: "timeZone",
  start: "startTime",
  end: "endTime",
  jitter: "jitter",
  suspend: "suspend",
  "concurrency-policy": "concurrencyPolicy",
  "starting-deadline": "startingDeadlineSeconds",
  "catch-up": "catchUp",
  "catch-up-limit": "catchUpLimit",
} as const;

/** The spec with what the flags say. @throws {UsageError} */
function applyFlags(spec: Spec, flags: Values, given: ReadonlySet<string>): Spec {
  const changes: Record<string, unknown> = {};
  for (const [flag, field] of Object.entries(FIELDS))
    if (given.has(flag)) changes[field] = Reflect.get(flags, flag);
  if (flags.method !== undefined) changes["method"] = checkMethods([flags.method])[0];
  if (flags.header.length > 0) changes["headers"] = headersOf(flags.header);
  const next = TimeTriggerSpec.parse({ ...spec, ...changes });
  checkSchedule(next);
  return next;
}

function checkSchedule(spec: Omit<Spec, "functionref">): void {
  const fault = scheduleFault(spec)?.replace("Cannot schedule the trigger: ", "") ?? timerCallFault(spec);
  if (fault !== undefined)
    throw new UsageError(
      fault
        .replaceAll("spec.cron", "--cron")
        .replaceAll("spec.timeZone", "--timezone")
        .replaceAll("spec.startTime", "--start")
        .replaceAll("spec.endTime", "--end")
        .replaceAll("spec.headers", "--header")
        .replaceAll("spec.", "--"),
    );
}

export const timetriggerCommands: readonly Command[] = [
  defineCommand({
    noun: "timetrigger",
    verb: "create",
    summary: "Call a function on a schedule",
    examples: [
      'isotope timer create --function report --cron "0 7 * * MON-FRI" --timezone Europe/Berlin',
      'isotope timer create --function poll --cron "@every 5m" --jitter 30s --concurrency-policy Forbid',
      'isotope timer create --workflow cleanup --cron @daily --body \'{"olderThan":"30d"}\'',
    ],
    flags: {
      name: { type: "string", help: "Name; default: a generated one" },
      function: { type: "strings", help: "Function to call; several with --weight" },
      cron: fieldFlag(TimeTriggerSpec, "cron", { type: "string", required: true }),
      ...SHARED,
      ...SAVE_FLAGS,
    },
    async run({ flags, given }, context) {
      const namespace = await context.namespace();
      const functionref = target(flags.function, flags);
      const spec = applyFlags({ cron: flags.cron, functionref }, flags, given);
      if (!flags.spec && !flags.dry) {
        const kube = await context.kube();
        for (const name of flags.function)
          if (!(await kube.find(FUNCTIONS, { namespace, name })))
            context.note(`Warning: function "${name}" does not exist in namespace "${namespace}" yet`);
      }
      const name = flags.name ? checkName(flags.name) : generatedName(functionref.name);
      const timer: TimeTrigger = {
        apiVersion: API_GROUP_VERSION,
        kind: "TimeTrigger",
        metadata: { name, namespace },
        spec,
      };
      return createOrSave(context, TIME_TRIGGERS, timer, flags);
    },
  }),
  defineCommand({
    noun: "timetrigger",
    verb: "update",
    summary: "Change a timer",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      function: { type: "strings", help: "Function to call; several with --weight" },
      cron: fieldFlag(TimeTriggerSpec, "cron", { type: "string" }),
      ...SHARED,
    },
    async run({ flags, given }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const retarget = ["function", "workflow", "weight", "function-alias", "function-version"];
      await changeObject(kube, KIND, { namespace, name: flags.name }, (live) => {
        const spec = applyFlags(live.spec, flags, given);
        if (!retarget.some((flag) => given.has(flag))) return { ...live, spec };
        const names =
          flags.function.length > 0 || flags.workflow ? flags.function : [live.spec.functionref.name];
        return { ...live, spec: { ...spec, functionref: target(names, flags) } };
      });
      context.out(`timetrigger "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND, {
    flag: "function",
    help: "Only timers of this function",
    keep: ({ spec: { functionref } }, name) =>
      functionref.name === name || Object.hasOwn(functionref.functionweights ?? {}, name),
  }),
  deleteCommand(KIND),
  defineCommand({
    noun: "timetrigger",
    verb: "history",
    summary: "Show the latest fires of a timer and the next ones",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: { name: { type: "string", help: "Name", required: true } },
    async run({ flags }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const timer = await kube.find(TIME_TRIGGERS, { namespace, name: flags.name });
      if (!timer) throw notFound("timetrigger", "TimeTrigger", flags.name, namespace);
      const next = (timer.status?.nextFires ?? []).map((time) => [time, "to come", "", ""]);
      const past = (timer.status?.recentFires ?? []).map(
        ({ scheduledTime, outcome, missed, invocationId, message }) => [
          scheduledTime,
          missed === undefined || missed === 1 ? outcome : `${outcome} (${missed})`,
          invocationId ?? "",
          message ?? "",
        ],
      );
      context.out(table(["TIME", "OUTCOME", "INVOCATION", "WHY"], [...next.toReversed(), ...past]));
      return 0;
    },
  }),
  defineCommand({
    noun: "timetrigger",
    verb: "showschedule",
    aliases: ["show"],
    summary: "Show when a schedule comes due, without creating anything",
    examples: ['isotope timer showschedule --cron "30 2 * * *" --timezone Europe/Berlin --round 10'],
    flags: {
      cron: fieldFlag(TimeTriggerSpec, "cron", { type: "string", required: true }),
      ...SCHEDULE_FLAGS,
      round: { type: "integer", help: "How many times", default: 1, min: 1, max: 1_000 },
    },
    async run({ flags }, context) {
      const { cron, timezone: timeZone, start: startTime, end: endTime } = flags;
      const spec = { cron, timeZone, startTime, endTime };
      checkSchedule(spec);
      const now = Date.now();
      context.out(`Current time: ${new Date(now).toISOString()}\n`);
      const times = upcoming(scheduleOf(spec, now), now, flags.round);
      times.forEach((time, at) => {
        const local = timeZone
          ? ` (${new Date(time).toLocaleString("sv-SE", { timeZone })} ${timeZone})`
          : "";
        context.out(`${at + 1}: ${new Date(time).toISOString()}${local}\n`);
      });
      if (times.length === 0) context.out("It never comes due any more\n");
      return 0;
    },
  }),
  waitCommand(KIND),
];
