import type { z } from "zod";
import { configDurationMs } from "../../api/config-values.ts";
import { type Queue, settingTexts, type Timer, type Watch } from "../../api/event-config.ts";
import type { FunctionConfig } from "../../api/function-config.ts";
import {
  type FunctionReference,
  isFieldPath,
  type KubernetesWatchTrigger,
  KubernetesWatchTriggerSpec,
  type MessageQueueTrigger,
  MessageQueueTriggerSpec,
  type TimeTrigger,
  TimeTriggerSpec,
} from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { timerCallFault } from "../../api/timer-call-fault.ts";
import { scheduleFault } from "../../net/calendar/cron-fault.ts";
import { CliError } from "../command.ts";

export type EventTrigger = (TimeTrigger | KubernetesWatchTrigger | MessageQueueTrigger) & {
  spec: { functionref: FunctionReference };
};

type Config = Pick<z.infer<typeof FunctionConfig>, "cron" | "queue" | "watch">;
type Metadata = TimeTrigger["metadata"];

/** The timers, watches and triggers of queues that a function file asks for. @throws {CliError} naming the field, the value and what is allowed */
export function eventTriggers(
  name: string,
  { cron = [], queue = [], watch = [] }: Config,
  metadata: (objectName: string) => Metadata,
): EventTrigger[] {
  const timers = [cron].flat().map((timer) => (typeof timer === "string" ? { schedule: timer } : timer));
  const queues = [queue].flat();
  const watches = [watch].flat();
  const functionref = { type: "name" as const, name };
  const make = <Item extends { name?: string | undefined }, Made>(
    field: string,
    items: readonly Item[],
    subject: (item: Item) => string,
    object: (metadata: Metadata, item: Item) => Made,
  ): Made[] => {
    const names = triggerNames(name, field, items, subject);
    return items.map((item, at) => object(metadata(names[at] ?? name), item));
  };
  return [
    ...make("cron", timers, timerSubject, (meta, timer) => timeTrigger(meta, timer, functionref)),
    ...make(
      "watch",
      watches,
      ({ kind }) => kind,
      (meta, each) => watchTrigger(meta, each, functionref),
    ),
    ...make(
      "queue",
      queues,
      ({ topic }) => topic,
      (meta, each) => queueTrigger(meta, each, functionref),
    ),
  ];
}

const MOST_OF_SUBJECT = 30;
const MAX_NAME = 63;
const timerSubject = ({ schedule, timeZone }: z.infer<typeof Timer>): string =>
  schedule.replace(/^(?:CRON_)?TZ=\S+\s+/, "").replaceAll("*", "x") + (timeZone ? ` ${timeZone}` : "");

/**
 * Names that stay the same when other triggers come and go, and that people can read: `<function>` for the first, `<function>-<what it waits for>` or
 * `<function>-<name>` for others.
 */
function triggerNames<Item extends { name?: string | undefined }>(
  functionName: string,
  field: string,
  items: readonly Item[],
  subject: (item: Item) => string,
): string[] {
  const names = items.map((item, at) => {
    const end = item.name ?? (at === 0 ? "" : slug(subject(item)));
    return end === "" ? functionName : `${functionName.slice(0, MAX_NAME - 1 - end.length)}-${end}`;
  });
  const twice = names.find((each, at) => names.indexOf(each) !== at);
  if (twice !== undefined)
    throw new CliError(
      `Cannot deploy "${functionName}": two of config.${field} would be "${twice}"; give each of them a "name" of its own`,
    );
  return names;
}

const slug = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, MOST_OF_SUBJECT)
    .replaceAll(/^-|-$/g, "");

function timeTrigger(
  metadata: Metadata,
  timer: z.infer<typeof Timer>,
  functionref: FunctionReference,
): TimeTrigger {
  const { name: _, schedule, path, jitter, ...same } = timer;
  const spec = TimeTriggerSpec.parse({
    ...same,
    cron: schedule,
    ...(path === undefined ? {} : { subpath: path }),
    ...(jitter === undefined ? {} : { jitter: durationText(jitter) }),
    functionref,
  });
  const fault = scheduleFault(spec)?.replace("Cannot schedule the trigger: ", "") ?? timerCallFault(spec);
  if (fault !== undefined)
    throw new CliError(
      `Cannot deploy "${functionref.name}": ${fault
        .replaceAll("spec.cron", "config.cron")
        .replaceAll("spec.subpath", "config.cron.path")
        .replaceAll("spec.", "config.cron.")}`,
    );
  return { apiVersion: API_GROUP_VERSION, kind: "TimeTrigger", metadata, spec };
}

function queueTrigger(
  metadata: Metadata,
  queue: z.infer<typeof Queue>,
  functionref: FunctionReference,
): EventTrigger {
  const {
    name: _,
    type,
    settings,
    minReplicas,
    maxReplicas,
    pollingInterval,
    cooldownPeriod,
    ...same
  } = queue;
  const texts = settingTexts(settings);
  const { functionref: _ref, ...spec } = MessageQueueTriggerSpec.parse({
    ...same,
    messageQueueType: type,
    minReplicaCount: minReplicas,
    maxReplicaCount: maxReplicas,
    pollingInterval: seconds(pollingInterval),
    cooldownPeriod: seconds(cooldownPeriod),
    ...(Object.keys(texts).length > 0 ? { metadata: texts } : {}),
  });
  return {
    apiVersion: API_GROUP_VERSION,
    kind: "MessageQueueTrigger",
    metadata,
    spec: { ...spec, functionref },
  };
}

function watchTrigger(
  metadata: Metadata,
  watch: z.infer<typeof Watch>,
  functionref: FunctionReference,
): KubernetesWatchTrigger {
  const { name: _, apiVersion = "v1", fieldSelector, ...same } = watch;
  const wrong = same.fields?.find((path) => !isFieldPath(path));
  if (wrong !== undefined)
    throw new CliError(
      `Cannot deploy "${functionref.name}": config.watch.fields must be paths such as "status.phase" or "status.containerStatuses[*].restartCount", got ${JSON.stringify(wrong)}`,
    );
  return {
    apiVersion: API_GROUP_VERSION,
    kind: "KubernetesWatchTrigger",
    metadata,
    spec: KubernetesWatchTriggerSpec.parse({
      apiVersion,
      ...same,
      ...(fieldSelector === undefined ? {} : { fieldselector: fieldSelector }),
      functionref,
    }),
  };
}

/** As kinds have durations. */
export const durationText = (value: number | string): string =>
  typeof value === "string" ? value : `${Math.max(1, Math.round(configDurationMs(value)))}ms`;

/** Whole seconds, at least 1. */
const seconds = (value: number | string | undefined): number | undefined =>
  value === undefined ? undefined : Math.max(1, Math.round(configDurationMs(value) / 1_000));
