import type { z } from "zod";
import { parseDurationMs } from "../../../api/duration.ts";
import type { FunctionSpec } from "../../../api/kinds/function.ts";
import { SOURCES } from "../../../api/sources/index.ts";
import { topicAddressFault } from "../../../api/sources/topic-address-fault.ts";
import { type Flags, type FlagValues, UsageError } from "../../command.ts";
import { parsePairList } from "../../names.ts";

const TYPES = SOURCES.map(({ type }) => type).join(", ");

/** How asynchronous calls of a function are tried, and who is told of their end. */
export const ASYNC_FLAGS = {
  "async-retry-max-attempts": {
    type: "integer",
    help: "Asynchronous calls: attempts at most; default 3",
    min: 1,
    max: 100,
  },
  "async-max-age": {
    type: "string",
    help: "Asynchronous calls: given up after this, such as 30m; default 6h",
  },
  "async-concurrency": {
    type: "integer",
    help: "Asynchronous calls that are delivered at once; default 100",
    min: 1,
    max: 10_000,
  },
  "async-on-success": { type: "string", help: "Function that gets the answer of each asynchronous call" },
  "async-on-failure": {
    type: "string",
    help: "Function that gets each asynchronous call that failed for good",
  },
  "async-on-success-topic": {
    type: "string",
    help: `Topic for the answers: a built-in one, or TYPE:TOPIC of ${TYPES}`,
  },
  "async-on-success-metadata": {
    type: "strings",
    help: "Setting of that topic's type, name=value, as for isotope mqt create --metadata",
  },
  "async-on-success-secret": { type: "string", help: "Secret with the credentials for that topic" },
  "async-on-failure-topic": {
    type: "string",
    help: `Topic for the calls that failed for good: a built-in one, or TYPE:TOPIC of ${TYPES}`,
  },
  "async-on-failure-metadata": {
    type: "strings",
    help: "Setting of that topic's type, name=value, as for isotope mqt create --metadata",
  },
  "async-on-failure-secret": { type: "string", help: "Secret with the credentials for that topic" },
} as const satisfies Flags;

type Invocation = NonNullable<z.infer<typeof FunctionSpec>["invocation"]>;

/** The policy with what the flags say put in; undefined when there is none. @throws {UsageError} */
export function invocationOf(
  flags: FlagValues<typeof ASYNC_FLAGS>,
  live: Invocation | undefined,
): Invocation | undefined {
  const maxAttempts = flags["async-retry-max-attempts"];
  const maxAge = flags["async-max-age"];
  const concurrency = flags["async-concurrency"];
  const onSuccess = destinationOf(
    "success",
    {
      name: flags["async-on-success"],
      topic: flags["async-on-success-topic"],
      metadata: flags["async-on-success-metadata"],
      secret: flags["async-on-success-secret"],
    },
    live?.onSuccess,
  );
  const onFailure = destinationOf(
    "failure",
    {
      name: flags["async-on-failure"],
      topic: flags["async-on-failure-topic"],
      metadata: flags["async-on-failure-metadata"],
      secret: flags["async-on-failure-secret"],
    },
    live?.onFailure,
  );
  if (maxAge !== undefined) checkDuration(maxAge);
  const next: Invocation = {
    ...live,
    ...(maxAttempts === undefined ? {} : { retry: { ...live?.retry, maxAttempts } }),
    ...(maxAge === undefined ? {} : { maxAge }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(onSuccess ? { onSuccess } : {}),
    ...(onFailure ? { onFailure } : {}),
  };
  return Object.keys(next).length === 0 ? undefined : next;
}

function checkDuration(text: string): void {
  try {
    parseDurationMs(text);
  } catch (error) {
    throw new UsageError(`--async-max-age: ${error instanceof Error ? error.message : String(error)}`);
  }
}

interface Given {
  readonly name: string | undefined;
  readonly topic: string | undefined;
  readonly metadata: readonly string[];
  readonly secret: string | undefined;
}

function destinationOf(
  end: string,
  { name, topic, metadata, secret }: Given,
  live: Invocation["onSuccess"],
): Invocation["onSuccess"] {
  const flag = `--async-on-${end}`;
  if (name !== undefined && topic !== undefined)
    throw new UsageError(`${flag} and ${flag}-topic exclude each other`);
  if (name !== undefined) return { function: { type: "name", name } };
  const hasSettings = metadata.length > 0 || secret !== undefined;
  if (topic === undefined && !hasSettings) return undefined;
  const base = topic === undefined ? live?.topic : addressOf(topic);
  if (!base) throw new UsageError(`${flag}-metadata and ${flag}-secret need ${flag}-topic`);
  const next = {
    ...base,
    ...(metadata.length > 0
      ? { metadata: { ...base.metadata, ...parsePairList(metadata, `${flag}-metadata`) } }
      : {}),
    ...(secret === undefined ? {} : { secret }),
  };
  const fault = topicAddressFault(next);
  if (fault !== undefined) throw new UsageError(`${flag}-${fault}`);
  return { topic: next };
}

/** `TYPE:TOPIC`, or a built-in topic. */
function addressOf(text: string): NonNullable<NonNullable<Invocation["onSuccess"]>["topic"]> {
  const colon = text.indexOf(":");
  const source = SOURCES.find(({ type }) => type === text.slice(0, Math.max(0, colon)));
  return source
    ? { messageQueueType: source.type, topic: text.slice(colon + 1) }
    : { messageQueueType: "statestore", topic: text };
}
