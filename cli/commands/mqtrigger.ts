import type { z } from "zod";
import {
  type FunctionReference,
  type MessageQueueTrigger,
  MessageQueueTriggerSpec,
} from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { SOURCES, sourceConfigFaults, sourceTypeFault } from "../../api/sources/index.ts";
import { settingFacts } from "../../api/sources/setting-facts.ts";
import { topicsFault } from "../../api/sources/topics-fault.ts";
import { FUNCTIONS, MESSAGE_QUEUE_TRIGGERS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { type Command, defineCommand, type Flags, type FlagValues, UsageError } from "../command.ts";
import { fieldFlag } from "../field-flag.ts";
import { deleteCommand, getCommand, listCommand, type NounKind, waitCommand } from "../generic-verbs.ts";
import { checkName, generatedName, parsePairList } from "../names.ts";
import { shortText } from "../output.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";
import { didYouMean } from "../suggest.ts";
import { functionRef, TARGET_FLAGS, targetText } from "../target-flags.ts";

type Spec = z.infer<typeof MessageQueueTriggerSpec>;

const NOUN = "mqtrigger";
const DEFAULT_TYPE = "kafka";
const count = (value: number | undefined): string => (value === undefined ? "-" : String(value));

const KIND: NounKind<MessageQueueTrigger> = {
  noun: NOUN,
  type: MESSAGE_QUEUE_TRIGGERS,
  columns: [
    { header: "TYPE", value: ({ spec }) => spec.messageQueueType || DEFAULT_TYPE },
    { header: "TOPIC", value: ({ spec }) => spec.topic },
    { header: "FUNCTION", value: ({ spec }) => (spec.functionref ? targetText(spec.functionref) : "-") },
    { header: "CONNECTED", value: ({ status }) => (status?.connected ? "yes" : "no") },
    { header: "LAG", value: ({ status }) => count(status?.lag) },
    { header: "DELIVERED", value: ({ status }) => count(status?.delivered), wide: true },
    { header: "DEAD", value: ({ status }) => count(status?.deadLettered), wide: true },
    { header: "LAST ERROR", value: ({ status }) => shortText(status?.lastError ?? ""), wide: true },
  ],
};

const types = SOURCES.map(({ type }) => type).join(", ");
/** What the registry of sources says of each. */
const SETTINGS = [
  "Settings by kind (--metadata name=value), those with * are required; keys of the Secret (--secret):",
  ...SOURCES.map(({ type, config, secret }) => {
    const names = settingFacts(config).map(({ name, isRequired }) => `${name}${isRequired ? "*" : ""}`);
    return `- ${type}: ${names.join(", ")}; Secret: ${Object.keys(secret).join(", ")}`;
  }),
  "`docs/sources` has a page of each kind with what is allowed and the defaults.",
].join("\n");

const SHARED = {
  ...TARGET_FLAGS,
  workflow: { type: "string", help: "Workflow of which a run is started, instead of --function" },
  mqtype: { type: "string", help: `Kind of queue or stream: ${types}; default ${DEFAULT_TYPE}` },
  resptopic: fieldFlag(MessageQueueTriggerSpec, "respTopic", {
    type: "string",
    help: "Topic that gets the function's answers",
  }),
  errortopic: fieldFlag(MessageQueueTriggerSpec, "errorTopic", {
    type: "string",
    help: "Topic that gets messages whose retries are used up; default: the dead letters (isotope dlq)",
  }),
  maxretries: fieldFlag(MessageQueueTriggerSpec, "maxRetries", {
    type: "integer",
    help: "Tries after the first; default 3",
  }),
  contenttype: fieldFlag(MessageQueueTriggerSpec, "contentType", {
    type: "string",
    short: "c",
    help: "Of messages that say none themselves; default application/json",
  }),
  concurrency: fieldFlag(MessageQueueTriggerSpec, "concurrency", { type: "integer" }),
  metadata: { type: "strings", help: "Setting of the kind of queue, name=value: see above" },
  secret: fieldFlag(MessageQueueTriggerSpec, "secret", {
    type: "string",
    help: "Secret with the credentials for the broker",
  }),
  pollinginterval: fieldFlag(MessageQueueTriggerSpec, "pollingInterval", {
    type: "integer",
    help: "With --minreplicacount 0: seconds between two looks for messages; default 30",
  }),
  cooldownperiod: fieldFlag(MessageQueueTriggerSpec, "cooldownPeriod", {
    type: "integer",
    help: "With --minreplicacount 0: seconds without a message before the connection is let go of; default 300",
  }),
  minreplicacount: fieldFlag(MessageQueueTriggerSpec, "minReplicaCount", {
    type: "integer",
    help: "0: lets go of the connection to the broker while no messages come",
  }),
  maxreplicacount: fieldFlag(MessageQueueTriggerSpec, "maxReplicaCount", {
    type: "integer",
    help: "Most replicas of the trigger service that take messages side by side, up to 16, where the source shares them out; default 1",
  }),
  mqtkind: { type: "string", help: "Of no effect", ignored: "the platform takes the messages itself" },
} as const satisfies Flags;
type Values = FlagValues<typeof SHARED>;

const FIELDS = {
  topic: "topic",
  mqtype: "messageQueueType",
  resptopic: "respTopic",
  errortopic: "errorTopic",
  maxretries: "maxRetries",
  contenttype: "contentType",
  concurrency: "concurrency",
  secret: "secret",
  pollinginterval: "pollingInterval",
  cooldownperiod: "cooldownPeriod",
  minreplicacount: "minReplicaCount",
  maxreplicacount: "maxReplicaCount",
} as const;

function target(functions: readonly string[], flags: Values): FunctionReference {
  if (flags.workflow === undefined) return functionRef(functions, flags);
  if (functions.length > 0) throw new UsageError("--function and --workflow exclude each other");
  return { type: "workflow", name: flags.workflow };
}

/** @throws {UsageError} for what is missing or not known among `--metadata` */
function checkSettings(type: string, metadata: Readonly<Record<string, string>>): void {
  const [fault] = sourceConfigFaults(type, metadata);
  if (fault === undefined) return;
  const settings = SOURCES.filter((source) => source.type === type).flatMap(({ config }) =>
    Object.keys(config.shape),
  );
  const stranger = Object.keys(metadata).find((name) => !settings.includes(name));
  const meant = stranger === undefined ? "" : didYouMean(stranger, settings);
  throw new UsageError(`--${fault}${meant} (--mqtype ${type})`);
}

/** The spec with what the flags say. @throws {UsageError} */
function applyFlags(spec: Spec, flags: Values, given: ReadonlySet<string>): Spec {
  const changes: Record<string, unknown> = {};
  for (const [flag, field] of Object.entries(FIELDS))
    if (given.has(flag)) changes[field] = Reflect.get(flags, flag);
  if (flags.metadata.length > 0)
    changes["metadata"] = { ...spec.metadata, ...parsePairList(flags.metadata, "--metadata") };
  const next = MessageQueueTriggerSpec.parse({ ...spec, ...changes });
  const type = next.messageQueueType || DEFAULT_TYPE;
  const unknown = sourceTypeFault(type);
  if (unknown !== undefined)
    throw new UsageError(
      unknown.replace("messageQueueType", "--mqtype").replace("with metadata", "with --metadata") +
        didYouMean(
          type,
          SOURCES.map((source) => source.type),
        ),
    );
  checkSettings(type, next.metadata ?? {});
  const topics = topicsFault(next);
  if (topics !== undefined)
    throw new UsageError(
      `--${topics.replace(/^\w+/, (field) => field.toLowerCase()).replace('topic "', '--topic "')}`,
    );
  return next;
}

export const mqtriggerCommands: readonly Command[] = [
  defineCommand({
    noun: NOUN,
    verb: "create",
    summary: "Call a function for each message of a queue or stream",
    description: SETTINGS,
    examples: [
      "isotope mqt create --function thumbnail --mqtype redis-streams --topic images --resptopic thumbnails",
      "isotope mqt create --function order --mqtype kafka --topic orders --metadata bootstrapServers=kafka:9092",
      "isotope mqt create --workflow fulfil --mqtype nats-jetstream --topic orders.new --metadata servers=nats:4222",
    ],
    flags: {
      name: { type: "string", help: "Name; default: a generated one" },
      function: { type: "strings", help: "Function to call; several with --weight" },
      topic: fieldFlag(MessageQueueTriggerSpec, "topic", {
        type: "string",
        help: "Topic, queue, stream or subject whose messages are taken",
        required: true,
      }),
      ...SHARED,
      ...SAVE_FLAGS,
    },
    async run({ flags, given }, context) {
      const namespace = await context.namespace();
      const functionref = target(flags.function, flags);
      const messageQueueType = flags.mqtype ?? DEFAULT_TYPE;
      const spec = applyFlags({ functionref, messageQueueType, topic: flags.topic }, flags, given);
      if (!flags.spec && !flags.dry) {
        const kube = await context.kube();
        for (const name of flags.function)
          if (!(await kube.find(FUNCTIONS, { namespace, name })))
            context.note(`Warning: function "${name}" does not exist in namespace "${namespace}" yet`);
      }
      const name = flags.name ? checkName(flags.name) : generatedName(functionref.name);
      const trigger: MessageQueueTrigger = {
        apiVersion: API_GROUP_VERSION,
        kind: "MessageQueueTrigger",
        metadata: { name, namespace },
        spec,
      };
      return createOrSave(context, MESSAGE_QUEUE_TRIGGERS, trigger, flags);
    },
  }),
  defineCommand({
    noun: NOUN,
    verb: "update",
    summary: "Change a trigger of a queue or stream",
    description: SETTINGS,
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      function: { type: "strings", help: "Function to call; several with --weight" },
      topic: fieldFlag(MessageQueueTriggerSpec, "topic", {
        type: "string",
        help: "Topic to take messages of",
      }),
      ...SHARED,
    },
    async run({ flags, given }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const retarget = ["function", "workflow", "weight", "function-alias", "function-version"];
      await changeObject(kube, KIND, { namespace, name: flags.name }, (live) => {
        const spec = applyFlags(live.spec, flags, given);
        if (!retarget.some((flag) => given.has(flag))) return { ...live, spec };
        const names =
          flags.function.length > 0 || flags.workflow ? flags.function : [live.spec.functionref?.name ?? ""];
        return { ...live, spec: { ...spec, functionref: target(names, flags) } };
      });
      context.out(`messagequeuetrigger "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND, {
    flag: "function",
    help: "Only triggers of this function",
    keep: ({ spec: { functionref } }, name) =>
      functionref?.name === name || Object.hasOwn(functionref?.functionweights ?? {}, name),
  }),
  deleteCommand(KIND),
  waitCommand(KIND),
];
