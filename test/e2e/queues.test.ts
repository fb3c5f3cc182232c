import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { RunList } from "../../api/wire/workflows.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { MESSAGE_QUEUE_TRIGGERS, WORKFLOWS } from "../../kube/kinds.ts";
import { MessageQueueTriggerSpec, MessageQueueTriggerStatus } from "../../api/kinds/index.ts";
import { MessageList, type TopicMessage } from "../../api/wire/topics.ts";
import { hasRedis } from "../redis-server.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import { isotope as run, redeploy } from "./releasing.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

let platform: TestPlatform;
let kube: KubeClient;
let folder: string;

/** Answers with what it was told of the message. Its body says how it is to go: `{"fail": 2}` = the first two tries fail. */
const TELLER = `
export const config = { route: false, requestsPerPod: 100 };
export default async (request: Request) => {
  const text = await request.text();
  const { fail = 0, refuse = false, waitMs = 0 } = JSON.parse(text);
  const attempt = Number(request.headers.get("x-isotope-attempt"));
  if (refuse) return new Response("no such order", { status: 422 });
  if (attempt <= fail) return new Response("not yet", { status: 500 });
  await new Promise((done) => setTimeout(done, waitMs));
  return Response.json({ text, attempt, headers: Object.fromEntries(request.headers) });
};`;
const broken = `
export const config = { route: false };
export default () => new Response("out of order", { status: 500 });`;

const Told = z.object({ text: z.string(), attempt: z.number(), headers: z.record(z.string(), z.string()) });
type Told = z.infer<typeof Told>;
const Trigger = z.object({
  metadata: z.object({ name: z.string() }),
  spec: MessageQueueTriggerSpec,
  status: MessageQueueTriggerStatus.optional(),
});

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  if (!hasRedis && !onCluster) return;
  folder = await deploy(platform, { "teller.ts": TELLER, "repaired.ts": broken });
}, 180_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

const isotope = (...args: string[]): Promise<string> => run(platform, ...args);

async function messages(topic: string): Promise<TopicMessage[]> {
  const { text } = await platform.ops(`/v1/topics/${platform.namespace}/${topic}?limit=1000`);
  return MessageList.parse(JSON.parse(text)).items.toReversed();
}
const answers = async (topic: string): Promise<Told[]> =>
  (await messages(topic)).map(({ data }) => Told.parse(JSON.parse(data)));

async function statusOf(name: string): Promise<z.infer<typeof MessageQueueTriggerStatus>> {
  const { status } = Trigger.parse(JSON.parse(await isotope("mqt", "get", name, "-o", "json")));
  if (!status) throw new Error(`Trigger "${name}" has no status yet`);
  return status;
}
/** A trigger of the built-in topic of its own name; its answers go to `<name>-answers`. */
async function trigger(name: string, ...more: string[]): Promise<void> {
  const source = ["--mqtype", "redis-streams", "--topic", name];
  await isotope("mqt", "create", "--name", name, ...source, "--resptopic", `${name}-answers`, ...more);
}
/** Of deliveries, in a status. Replicas of a cluster share the triggers of all tests: another may take them by then, and counts from 0. */
const delivered = (count: number): number => (onCluster ? (expect.any(Number) as number) : count);
const publish = (topic: string, data: unknown, ...more: string[]): Promise<string> =>
  isotope("topic", "publish", "--topic", topic, "--data", JSON.stringify(data), ...more);

describe.skipIf(!hasRedis && !onCluster)("message queue triggers", { timeout: 300_000 }, () => {
  it("take a message to a function as soon as they exist, and the answer to the response topic", async () => {
    await trigger("orders", "--function", "teller");
    // At once: what is published after the trigger exists is its to deliver, connected or not.
    await publish("orders", { n: 1 }, "--key", "kim", "--header", "x-colour=blue");
    await isotope("mqt", "wait", "orders");
    const [told] = await asserted(async () => {
      const all = await answers("orders-answers");
      expect(all).toHaveLength(1);
      return all;
    });
    const [message] = await messages("orders");
    const [answer] = await messages("orders-answers");
    expect(told).toMatchObject({ text: '{"n":1}', attempt: 1 });
    expect(told?.headers).toMatchObject({
      "content-type": "application/json",
      "x-colour": "blue",
      "x-fission-mqtrigger-topic": "orders",
      "x-fission-mqtrigger-resptopic": "orders-answers",
      "x-fission-mqtrigger-key": "kim",
      "idempotency-key": `${platform.namespace}/teller/mqt/orders/orders/${message?.id}`,
      "ce-specversion": "1.0",
      "ce-id": `mqt/orders/orders/${message?.id}`,
    });
    expect(answer).toMatchObject({ key: "kim", headers: { "x-colour": "blue" } });
    await asserted(async () =>
      expect(await statusOf("orders")).toMatchObject({
        connected: true,
        delivered: delivered(1),
        deadLettered: 0,
        lag: 0,
        lastMessageTime: expect.any(String),
      }),
    );
  });

  it("try again what fails, and bury what is refused, where it can be seen, sent again and removed", async () => {
    await trigger("tries", "--function", "teller", "--maxretries", "2");
    await publish("tries", { fail: 2 });
    await publish("tries", { refuse: true });
    const [told] = await asserted(async () => {
      const all = await answers("tries-answers");
      expect(all).toHaveLength(1);
      return all;
    });
    expect(told?.attempt).toBe(3);
    const ofTrigger = ["--source", "mqt/tries"];
    const list = async () =>
      z
        .array(z.object({ id: z.string(), source: z.string(), redrives: z.number() }))
        .parse(JSON.parse(await isotope("dlq", "list", ...ofTrigger, "-o", "json")));
    const [letter] = await asserted(async () => {
      const all = await list();
      expect(all).toHaveLength(1);
      return all;
    });
    const shown = await isotope("dlq", "show", letter?.id ?? "");
    for (const part of ["422", "no such order", '{"refuse":true}', "mqt/tries"])
      expect(shown).toContain(part);
    await isotope("dlq", "redrive", ...ofTrigger);
    await asserted(async () => expect(await list()).toMatchObject([{ redrives: 1 }]));
    await isotope("dlq", "purge", ...ofTrigger);
    expect(await list()).toEqual([]);
  });

  it("send what cannot be delivered to the error topic, with its payload, key and the facts", async () => {
    await trigger("errors", "--function", "teller", "--maxretries", "0", "--errortopic", "errors-dead");
    await publish("errors", { fail: 99 }, "--key", "kim", "--header", "x-colour=blue");
    const [dead] = await asserted(async () => {
      const all = await messages("errors-dead");
      expect(all).toHaveLength(1);
      return all;
    });
    expect(dead).toMatchObject({
      key: "kim",
      data: '{"fail":99}',
      headers: {
        "x-colour": "blue",
        "isotope-failure-status": "500",
        "isotope-failure-message": expect.stringContaining("not yet"),
        "isotope-failure-attempts": "1",
        "isotope-failure-trigger": `${platform.namespace}/errors`,
        "isotope-failure-topic": "errors",
      },
    });
    expect(JSON.parse(await isotope("dlq", "list", "--source", "mqt/errors", "-o", "json"))).toEqual([]);
  });

  it("call through an alias", async () => {
    await isotope("fn", "publish", "teller", "--wait");
    await isotope("alias", "create", "steady", "--function", "teller", "--version", "teller-v1", "--wait");
    await trigger("aliased", "--function", "teller", "--function-alias", "steady");
    await publish("aliased", { n: 1 });
    await asserted(async () => expect(await answers("aliased-answers")).toHaveLength(1));
  });

  it("start one run of a workflow for each message", async () => {
    await kube.create(WORKFLOWS, {
      apiVersion: API_GROUP_VERSION,
      kind: "Workflow",
      metadata: { name: "fulfil", namespace: platform.namespace },
      spec: {
        startAt: "tell",
        states: { tell: { type: "Task", function: { type: "name", name: "teller" }, end: true } },
      },
    });
    const source = ["--mqtype", "redis-streams", "--topic", "fulfil"];
    await isotope("mqt", "create", "--name", "fulfil", "--workflow", "fulfil", ...source);
    await publish("fulfil", { order: 1 });
    await publish("fulfil", { order: 2 });
    await asserted(async () => {
      const { text } = await platform.ops(`/v1/runs?namespace=${platform.namespace}&workflow=fulfil`);
      const { runs } = RunList.parse(JSON.parse(text));
      expect(runs.map(({ status }) => status)).toEqual(["succeeded", "succeeded"]);
    });
    await asserted(async () =>
      expect(await statusOf("fulfil")).toMatchObject({ delivered: delivered(2), lag: 0 }),
    );
  });

  it("do not wait for a slow function of another, nor for a broker that nobody finds", async () => {
    await trigger("slow", "--function", "teller");
    const nowhere = ["--mqtype", "kafka", "--topic", "lost", "--metadata", "bootstrapServers=127.0.0.1:1"];
    await isotope("mqt", "create", "--name", "lost", "--function", "teller", ...nowhere);
    await publish("slow", { waitMs: 4_000 });
    await publish("orders", { n: 2 });
    await asserted(async () => expect((await answers("orders-answers")).at(-1)?.text).toBe('{"n":2}'));
    await asserted(async () => expect(await answers("slow-answers")).toHaveLength(1));
    await asserted(async () => {
      const { connected, conditions } = await statusOf("lost");
      expect(connected).toBe(false);
      expect(conditions?.find(({ type }) => type === "Ready")).toMatchObject({
        status: "False",
        reason: "NotConnected",
      });
    });
  });

  it("hold on to messages while their function is out of order", async () => {
    await trigger("held", "--function", "repaired", "--maxretries", "100");
    for (const n of [1, 2, 3]) await publish("held", { n }, "--key", "one");
    await asserted(async () => expect((await statusOf("held")).lastError).toContain("out of order"));
    await redeploy(platform, folder, "repaired", TELLER);
    await asserted(
      async () =>
        expect((await answers("held-answers")).map(({ text }) => text)).toEqual([
          '{"n":1}',
          '{"n":2}',
          '{"n":3}',
        ]),
      // The pauses between tries have grown for as long as the deployment took.
      120_000,
    );
    await asserted(async () => expect((await statusOf("held")).lastError).toBeUndefined());
  });
});

describe.skipIf(!hasRedis && !onCluster)("the CLI of queues and topics", { timeout: 240_000 }, () => {
  const specOf = async (name: string) =>
    Trigger.parse(JSON.parse(await isotope("mqt", "get", name, "-o", "json"))).spec;
  const names = async (...args: string[]): Promise<string[]> =>
    z
      .object({ items: z.array(Trigger) })
      .parse(JSON.parse(await isotope("mqt", "list", "-o", "json", ...args)))
      .items.map(({ metadata }) => metadata.name);

  it("creates, changes, shows, lists, waits for and deletes triggers", async () => {
    const topics = ["--resptopic", "done", "--errortopic", "failed"];
    const call = [
      "--function",
      "teller",
      "--contenttype",
      "text/plain",
      "--maxretries",
      "7",
      "--concurrency",
      "3",
    ];
    const source = ["--mqtype", "statestore", "--topic", "jobs", "--metadata", "start=earliest"];
    const scale = ["--pollinginterval", "5", "--minreplicacount", "1"];
    const ignored = ["--mqtkind", "keda"];
    await isotope(
      "mqtrigger",
      "create",
      "--name",
      "full",
      ...call,
      ...source,
      ...topics,
      ...scale,
      ...ignored,
    );
    const spec = await specOf("full");
    expect(spec).toEqual({
      functionref: { type: "name", name: "teller" },
      messageQueueType: "statestore",
      topic: "jobs",
      respTopic: "done",
      errorTopic: "failed",
      maxRetries: 7,
      contentType: "text/plain",
      concurrency: 3,
      pollingInterval: 5,
      minReplicaCount: 1,
      metadata: { start: "earliest" },
    });
    expect(await isotope("mqt", "wait", "--name", "full", "--for", "condition=Ready")).toContain(
      "condition met",
    );
    await isotope(
      "mqt",
      "update",
      "full",
      "--topic",
      "jobs-b",
      "--metadata",
      "window=10",
      "--maxretries",
      "0",
    );
    const metadata = { start: "earliest", window: "10" };
    expect(await specOf("full")).toEqual({ ...spec, topic: "jobs-b", maxRetries: 0, metadata });
    await isotope("mqt", "update", "full", "--function", "teller", "--function-alias", "steady");
    expect((await specOf("full")).functionref).toEqual({ type: "name", name: "teller", alias: "steady" });
    await isotope("mqt", "update", "full", "--workflow", "fulfil");
    expect((await specOf("full")).functionref).toEqual({ type: "workflow", name: "fulfil" });
    expect(await isotope("mqt", "list")).toMatch(/NAME +TYPE +TOPIC +FUNCTION +CONNECTED +LAG +READY/);
    expect(await isotope("mqt", "list", "-o", "wide")).toMatch(/DELIVERED +DEAD +LAST ERROR/);
    expect(await names("--function", "fulfil")).toContain("full");
    expect(await names("--function", "repaired")).not.toContain("full");
    expect(await isotope("mqt", "delete", "full")).toContain('messagequeuetrigger "full" deleted');
    expect(await names()).not.toContain("full");
    expect((await platform.cli(["mqt", "get", "full"])).err).toContain("isotope mqtrigger list");
    const weights = ["--function", "teller", "--weight", "90", "--function", "repaired", "--weight", "10"];
    const dry = await isotope(
      "mqt",
      "create",
      ...weights,
      "--mqtype",
      "redis-streams",
      "--topic",
      "split",
      "--dry",
    );
    expect(dry).toContain("function-weights");
    expect(await names("--function", "repaired")).not.toContain("split");
  });

  it.each([
    [
      ["--mqtype", "nats-streaming"],
      ["end of life", "nats-jetstream", "servers="],
    ],
    [
      ["--mqtype", "rabbit"],
      ['--mqtype must be one of "redis-streams"', 'got "rabbit"'],
    ],
    [[], ['metadata "bootstrapServers" is required: host:port']],
    [
      ["--mqtype", "redis-streams", "--metadata", "starts=latest"],
      ['unknown "starts"', "allowed are address,"],
    ],
    [
      ["--mqtype", "redis-streams", "--metadata", "window=many"],
      ["1..10000", 'got "many"'],
    ],
    [
      ["--mqtype", "redis-streams", "--metadata", "window"],
      ["--metadata", '"window"'],
    ],
    [
      ["--mqtype", "redis-streams", "--concurrency", "0"],
      ["--concurrency", "1..1000", "0"],
    ],
    [["--mqtype", "redis-streams", "--maxretries", "-1"], ["--maxretries"]],
    [["--mqtype", "redis-streams", "--workflow", "fulfil"], ["--function and --workflow exclude each other"]],
    [
      ["--mqtype", "redis-streams", "--resptopic", "jobs"],
      ["resptopic", '"jobs"'],
    ],
  ])("refuses %j, and makes nothing", async (args, parts) => {
    const before = await names();
    const { code, err } = await platform.cli([
      "mqt",
      "create",
      "--function",
      "teller",
      "--topic",
      "jobs",
      ...args,
    ]);
    expect(code, err).toBe(2);
    for (const part of parts) expect(err).toContain(part);
    expect(await names()).toEqual(before);
  });

  it("names what is missing in the status of what the API took", async () => {
    const wrong = (name: string, more: object) =>
      kube.create(MESSAGE_QUEUE_TRIGGERS, {
        apiVersion: API_GROUP_VERSION,
        kind: "MessageQueueTrigger",
        metadata: { name, namespace: platform.namespace },
        spec: {
          functionref: { type: "name", name: "teller" },
          messageQueueType: "redis-streams",
          topic: name,
          ...more,
        },
      });
    await wrong("no-secret", { secret: "nowhere" });
    await wrong("old", { messageQueueType: "nats-streaming" });
    const reasons = { "no-secret": 'Secret "nowhere" not found', old: "end of life" };
    for (const [name, part] of Object.entries(reasons))
      await asserted(async () => {
        const ready = (await statusOf(name)).conditions?.find(({ type }) => type === "Ready");
        expect(ready).toMatchObject({ status: "False", message: expect.stringContaining(part) });
      });
  });

  it("publishes to topics, shows what is in them, and follows them", async () => {
    const id = await isotope(
      "topic",
      "publish",
      "--topic",
      "news",
      "--data",
      "first",
      "--content-type",
      "text/plain",
    );
    expect(id).toMatch(/^\d+-\d+\n$/);
    await isotope("topics", "publish", "--topic", "news", "-d", "second", "--key", "k", "-H", "x-a=b");
    expect(await isotope("topic", "peek", "--topic", "news")).toMatch(
      /ID +KEY +DATA\n.* k +second\n.* first\n/,
    );
    const newest = await isotope("topic", "peek", "--topic", "news", "--limit", "1", "-o", "json");
    expect(JSON.parse(newest)).toMatchObject([{ data: "second", key: "k", headers: { "x-a": "b" } }]);
    const stop = new AbortController();
    let heard = "";
    const tail = platform.cli(["topic", "tail", "--topic", "news"], {
      signal: stop.signal,
      onOut: (text) => (heard += text),
    });
    // What it prints begins with what comes after it has started; when that is, nobody says.
    for (let n = 0; !heard.includes("later"); n++) {
      if (n > 200) throw new Error(`Nothing was heard: ${heard}`);
      await publish("news", `later ${n}`);
      await new Promise((done) => setTimeout(done, 200));
    }
    stop.abort();
    await tail;
    expect(heard).not.toContain("second");
    expect(await platform.cli(["topic", "peek", "--topic", "nothing"])).toMatchObject({ code: 0, out: "" });
    const bad = await platform.cli(["topic", "publish", "--topic", "no/topic", "--data", "x"]);
    expect(bad.code).toBe(2);
    expect(bad.err).toContain("--topic must be 1..249 characters");
    expect(
      (await platform.cli(["topic", "publish", "--topic", "news", "--data", "x", "--mqtype", "kafka"])).code,
    ).toBe(2);
  });
});
