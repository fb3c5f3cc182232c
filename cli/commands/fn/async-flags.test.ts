import { expect, test } from "vitest";
import { UsageError } from "../../command.ts";
import { invocationOf } from "./async-flags.ts";

type Flags = Parameters<typeof invocationOf>[0];
const flags = (given: Partial<Flags>): Flags => ({
  "async-retry-max-attempts": undefined,
  "async-max-age": undefined,
  "async-concurrency": undefined,
  "async-on-success": undefined,
  "async-on-success-topic": undefined,
  "async-on-success-metadata": [],
  "async-on-success-secret": undefined,
  "async-on-failure": undefined,
  "async-on-failure-topic": undefined,
  "async-on-failure-metadata": [],
  "async-on-failure-secret": undefined,
  ...given,
});

test("a topic is a built-in one, or one of a type with its settings", () => {
  expect(invocationOf(flags({ "async-on-success-topic": "done" }), undefined)).toEqual({
    onSuccess: { topic: { messageQueueType: "statestore", topic: "done" } },
  });
  const kafka = flags({
    "async-on-failure-topic": "kafka:failed",
    "async-on-failure-metadata": ["bootstrapServers=kafka:9092"],
    "async-on-failure-secret": "login",
  });
  const made = invocationOf(kafka, undefined);
  expect(made).toEqual({
    onFailure: {
      topic: {
        messageQueueType: "kafka",
        topic: "failed",
        metadata: { bootstrapServers: "kafka:9092" },
        secret: "login",
      },
    },
  });
  const changed = flags({ "async-on-failure-metadata": ["tls=enable"] });
  expect(invocationOf(changed, made)?.onFailure?.topic?.metadata).toEqual({
    bootstrapServers: "kafka:9092",
    tls: "enable",
  });
});

test.each<[Partial<Flags>, string]>([
  [
    { "async-on-success-topic": "kafka:done" },
    '--async-on-success-metadata "bootstrapServers" is required: host:port of each server',
  ],
  [
    { "async-on-success-topic": "kafka:done", "async-on-success-metadata": ["bootstrapServers=x"] },
    'must be host:port of each server, with commas between, got "x"',
  ],
  [
    { "async-on-failure-secret": "login" },
    "--async-on-failure-metadata and --async-on-failure-secret need --async-on-failure-topic",
  ],
  [
    { "async-on-success": "next", "async-on-success-topic": "done" },
    "--async-on-success and --async-on-success-topic exclude each other",
  ],
])("%j is refused", (given, sentence) => {
  const act = () => invocationOf(flags(given), undefined);
  expect(act).toThrow(UsageError);
  expect(act).toThrow(sentence);
});
