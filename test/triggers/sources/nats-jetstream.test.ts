import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { natsObstacle, startNats } from "../brokers/nats.ts";
import {
  type Bench,
  createBench,
  done,
  failed,
  numbers,
  plain,
  type SourceUnderTest,
  textOf,
} from "./bench.ts";
import { sourceContract } from "./contract.ts";
import { until } from "../../until.ts";

type Nats = Awaited<ReturnType<typeof startNats>>;

const obstacle = natsObstacle();
if (obstacle !== undefined) test.skip(`source nats-jetstream: ${obstacle}`, () => undefined);
else {
  const theBroker = sourceContract("nats-jetstream", startNats, {
    "": underTest("none"),
    "in order": underTest("stream"),
  });
  natsCases(theBroker);
}

function underTest(ordering: "none" | "stream") {
  return (broker: Nats): SourceUnderTest => {
    const metadata = { servers: broker.address, deliverPolicy: "all", ackWaitMs: "5000", ordering };
    return {
      type: "nats-jetstream",
      createTopic: async (topic: string) => {
        const connection = await connect({ servers: broker.address });
        const manager = await jetstreamManager(connection);
        await manager.streams.add({ name: `stream-${topic}`, subjects: [topic] });
        await connection.close();
      },
      metadata,
      latest: { ...metadata, deliverPolicy: "new" },
      ...(ordering === "stream" ? { strict: metadata } : {}),
      keyOrder: false,
      carriesHeaders: true,
    };
  };
}

function natsCases(theBroker: () => Promise<Nats>): void {
  describe("source nats-jetstream, beyond the contract", { timeout: 300_000 }, () => {
    let broker: Nats;
    let under: SourceUnderTest;
    let bench: Bench;
    beforeAll(async () => {
      broker = await theBroker();
      under = underTest("none")(broker);
      bench = createBench(under);
    }, 600_000);
    afterEach(() => bench?.closeAll());

    test("a message stays with a function that runs for longer than the server waits", async () => {
      const topic = await bench.newTopic();
      const uid = randomUUID();
      await bench.publish(topic, plain(["slow"]));
      const seen: string[] = [];
      const slow = async (_target: unknown, event: { body: Uint8Array }) => {
        seen.push(textOf(event));
        await sleep(11_000);
        return done();
      };
      const members = [await bench.begin(slow, { topic, uid }), await bench.begin(slow, { topic, uid })];
      await until("it runs", () => seen.length > 0);
      await until("it is settled", () => members.every(({ consumer }) => consumer.stats().held === 0));
      await until("the server knows", async () => (await members[0]?.consumer.lag()) === 0);
      expect(seen).toEqual(["slow"]);
    });

    test("members of one consumer share its messages", async () => {
      const topic = await bench.newTopic();
      const uid = randomUUID();
      const seen = new Map<string, string[]>();
      let met = 0;
      const both = Promise.withResolvers<void>();
      const member = (by: string) => async (_target: unknown, event: { body: Uint8Array }) => {
        if (!seen.has(by) && ++met === 2) both.resolve();
        seen.set(by, [...(seen.get(by) ?? []), textOf(event)]);
        // Nobody can take all of them before the other has begun.
        await both.promise;
        return done();
      };
      await bench.begin(member("a"), {
        topic,
        uid,
        metadata: { ...under.metadata, maxAckPending: "64" },
      });
      await bench.begin(member("b"), {
        topic,
        uid,
        metadata: { ...under.metadata, maxAckPending: "64" },
      });
      const texts = numbers(40);
      let sent = 0;
      await until("both take part", async () => {
        await bench.publish(topic, plain([String(sent++)]));
        return met === 2;
      });
      await bench.publish(topic, plain(texts.map((text) => `then ${text}`)));
      const all = () => [...seen.values()].flat();
      await until("all are delivered", () => all().length === sent + texts.length);
      expect(new Set(all()).size).toBe(sent + texts.length);
    });

    test("the server tells of a message that was given up", async () => {
      const topic = await bench.newTopic();
      await bench.publish(topic, plain(["bad"]));
      const connection = await connect({ servers: broker.address });
      const told: string[] = [];
      const advisories = connection.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>");
      void (async () => {
        for await (const advisory of advisories) told.push(advisory.subject);
      })();
      await connection.flush();
      const begun = await bench.begin(() => Promise.resolve(failed()), { topic, maxRetries: 1 });
      await until("it is told", () => told.some((subject) => subject.includes(topic)));
      await until("nothing is left", async () => (await begun.consumer.lag()) === 0);
      expect(begun.buried.map(({ attempts }) => attempts)).toEqual([2]);
      await connection.close();
    });
  });
}
