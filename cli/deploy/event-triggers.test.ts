import { describe, expect, it } from "vitest";
import { FunctionConfig } from "../../api/function-config.ts";
import { desiredObjects } from "./desired-objects.ts";
import { parseModule } from "./read-config.ts";

const source = { digest: "a".repeat(64), entry: "functions/report.ts" };
const target = { namespace: "default", deployment: "shop" };

/** What a file with this config stands for. */
const objectsOf = (literal: string, name = "report") =>
  desiredObjects(
    name,
    parseModule("report.ts", `export const config = ${literal};`, FunctionConfig).config,
    source,
    target,
  );
const events = (literal: string, name?: string) => objectsOf(literal, name).events;
const names = (literal: string, name?: string) => events(literal, name).map(({ metadata }) => metadata.name);

describe("triggers of a function's file", () => {
  it("makes a timer of a schedule, as text and with its settings", () => {
    const functionref = { type: "name", name: "report" };
    const [plain] = events('{ cron: "0 6 * * *" }');
    expect(plain).toMatchObject({
      kind: "TimeTrigger",
      metadata: { name: "report", namespace: "default", labels: { "isotope.dev/deployment": "shop" } },
      spec: { cron: "0 6 * * *", functionref },
    });
    const [whole] = events(`{ cron: {
      schedule: "0 6 * * *", timeZone: "Asia/Kolkata", concurrencyPolicy: "Forbid", startingDeadlineSeconds: 60, catchUp: "all",
      catchUpLimit: 5, jitter: 30, method: "PUT", path: "/daily", headers: { "x-a": "b" }, body: "{}", suspend: true,
      startTime: "2027-01-01T00:00:00Z", endTime: "2028-01-01T00:00:00Z" } }`);
    expect(whole?.spec).toEqual({
      cron: "0 6 * * *",
      timeZone: "Asia/Kolkata",
      concurrencyPolicy: "Forbid",
      startingDeadlineSeconds: 60,
      catchUp: "all",
      catchUpLimit: 5,
      jitter: "30000ms",
      method: "PUT",
      subpath: "/daily",
      headers: { "x-a": "b" },
      body: "{}",
      suspend: true,
      startTime: "2027-01-01T00:00:00Z",
      endTime: "2028-01-01T00:00:00Z",
      functionref,
    });
  });

  it("makes triggers of queues and watches", () => {
    const [queue] =
      events(`{ queue: { type: "kafka", topic: "orders", respTopic: "done", errorTopic: "bad", maxRetries: 5, secret: "kafka",
      concurrency: 8, minReplicas: 0, maxReplicas: 4, cooldownPeriod: "5m", pollingInterval: 10,
      settings: { bootstrapServers: "kafka:9092", sessionTimeoutMs: 30000, unsafeSsl: false } } }`);
    expect(queue).toMatchObject({ kind: "MessageQueueTrigger", metadata: { name: "report" } });
    expect(queue?.spec).toEqual({
      functionref: { type: "name", name: "report" },
      messageQueueType: "kafka",
      topic: "orders",
      respTopic: "done",
      errorTopic: "bad",
      maxRetries: 5,
      secret: "kafka",
      concurrency: 8,
      minReplicaCount: 0,
      maxReplicaCount: 4,
      cooldownPeriod: 300,
      pollingInterval: 10,
      metadata: { bootstrapServers: "kafka:9092", sessionTimeoutMs: "30000", unsafeSsl: "false" },
    });
    const [watch] = events('{ watch: { kind: "Pod", fieldSelector: "status.phase=Failed" } }');
    expect(watch).toMatchObject({
      kind: "KubernetesWatchTrigger",
      spec: { kind: "Pod", apiVersion: "v1", fieldselector: "status.phase=Failed" },
    });
  });

  it("gives names that people can read and that stay when others come and go", () => {
    expect(
      names('{ cron: ["@daily", "*/5 8-17 * * MON-FRI", { name: "monthly", schedule: "0 0 1 * *" }] }'),
    ).toEqual(["report", "report-x-5-8-17-x-x-mon-fri", "report-monthly"]);
    expect(names('{ cron: ["@daily", { name: "monthly", schedule: "0 0 1 * *" }] }')).toEqual([
      "report",
      "report-monthly",
    ]);
    expect(
      names(
        '{ queue: [{ type: "redis-streams", topic: "a" }, { type: "redis-streams", topic: "Orders.New" }] }',
      ),
    ).toEqual(["report", "report-orders-new"]);
    expect(names('{ watch: [{ kind: "Pod" }, { kind: "Deployment", apiVersion: "apps/v1" }] }')).toEqual([
      "report",
      "report-deployment",
    ]);
    for (const name of names(
      '{ cron: ["@daily", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 * * * *"] }',
      "x".repeat(63),
    ))
      expect(name).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
    expect(() => names('{ cron: ["@daily", "0 1 * * *", { schedule: "0 1 * * *", body: "x" }] }')).toThrow(
      'two of config.cron would be "report-0-1-x-x-x"; give each of them a "name"',
    );
  });

  it("says how asynchronous calls are tried", () => {
    expect(
      objectsOf(
        '{ async: { maxAttempts: 5, backoff: 2, maxBackoff: "1m", jitter: false, maxAge: "30m", concurrency: 3, onSuccess: { topic: "done" }, onFailure: "mourn" } }',
      ).function.spec.invocation,
    ).toEqual({
      retry: { maxAttempts: 5, backoffBase: "2000ms", backoffCap: "1m", jitter: false },
      maxAge: "30m",
      concurrency: 3,
      onSuccess: { topic: { messageQueueType: "statestore", topic: "done" } },
      onFailure: { function: { type: "name", name: "mourn" } },
    });
    expect(
      objectsOf('{ async: { onSuccess: { function: "a", alias: "live" }, onFailure: { workflow: "w" } } }')
        .function.spec.invocation,
    ).toEqual({
      onSuccess: { function: { type: "name", name: "a", alias: "live" } },
      onFailure: { function: { type: "workflow", name: "w" } },
    });
    expect(objectsOf("{}").function.spec.invocation).toBeUndefined();
  });

  it.each([
    ['{ cron: "61 * * * *" }', "config.cron must be five fields"],
    [
      '{ cron: { schedule: "0 6 * * *", timeZone: "Mars/Base" } }',
      'config.cron.timeZone must be an IANA time zone such as "Europe/Berlin", got "Mars/Base"',
    ],
    [
      '{ cron: { schedule: "0 6 * * *", catchUp: "some" } }',
      '"cron.catchUp": Invalid option: expected one of "none"|"last"|"all", got "some"',
    ],
    ['{ cron: ["@daily", { schedule: "@daily", path: "x" }] }', '"cron.1.path": must start with /, got "x"'],
    [
      '{ cron: { schedule: "@daily", jitter: "2d" } }',
      'config.cron.jitter must be a duration of 24h at most such as 30s, got "2d"',
    ],
    [
      '{ cron: { schedule: "@daily", headers: { "a b": "c" } } }',
      'config.cron.headers must have names of HTTP headers, got "a b"',
    ],
    ['{ cron: { schedule: "@daily", zone: "UTC" } }', 'Unrecognized key: "zone"'],
    ["{ cron: {} }", '"cron.schedule": '],
    ['{ queue: { type: "rabbit", topic: "a" } }', 'messageQueueType must be one of "redis-streams"'],
    ['{ queue: { type: "stan", topic: "a" } }', "reached its end of life in June 2023"],
    [
      '{ queue: { type: "kafka", topic: "a" } }',
      '"queue.settings": "bootstrapServers" is required: host:port',
    ],
    [
      '{ queue: [{ type: "redis-streams", topic: "a", settings: { window: 0 } }] }',
      '"queue.0.settings": "window" must be a whole number 1..10000, got "0"',
    ],
    [
      '{ queue: { type: "redis-streams", topic: "a", settings: { shards: 1 } } }',
      '"queue.settings": has unknown "shards": allowed are',
    ],
    [
      '{ queue: { type: "redis-streams", topic: "a", respTopic: "a" } }',
      'respTopic must differ from topic "a", got "a"',
    ],
    [
      '{ queue: { type: "redis-streams", topic: "a", maxRetries: -1 } }',
      '"queue.maxRetries": Too small: expected number to be >=0, got -1',
    ],
    ['{ queue: { type: "redis-streams" } }', '"queue.topic": '],
    ['{ watch: { kind: "Pod", fields: ["a..b"] } }', "config.watch.fields must be paths such as"],
    ['{ watch: { kind: "Pod", events: ["CHANGED"] } }', '"watch.events.0": Invalid option'],
    ["{ async: { maxAttempts: 0 } }", '"async.maxAttempts": Too small: expected number to be >=1, got 0'],
    ['{ async: { maxAge: "soon" } }', '"async.maxAge": must be a duration'],
    ['{ async: { onFailure: { topic: "a b" } } }', '"async.onFailure.topic": '],
    ['{ async: { onSuccess: { topic: "a", type: "rabbit" } } }', '"async.onSuccess.type": '],
  ])("refuses %s", (literal, message) => {
    expect(() => objectsOf(literal)).toThrow(message);
  });
});
