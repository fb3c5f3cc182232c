import { setTimeout as sleep } from "node:timers/promises";
import { QueueServiceClient } from "@azure/storage-queue";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Deliver } from "../../../engine/triggers/delivery/event.ts";
import { azuriteObstacle, startAzurite } from "../brokers/azurite.ts";
import { type Bench, createBench, done, failed, plain, type SourceUnderTest, textOf } from "./bench.ts";
import { sourceContract } from "./contract.ts";
import { sharedTriggerCase } from "./shared-trigger.ts";
import { until } from "../../until.ts";

type Azurite = Awaited<ReturnType<typeof startAzurite>>;

const obstacle = azuriteObstacle();
if (obstacle !== undefined) test.skip(`source azure-storage-queue: ${obstacle}`, () => undefined);
else {
  const theBroker = sourceContract("azure-storage-queue", startAzurite, { "": underTest });
  azureCases(theBroker);
}

function underTest({ connectionString }: Azurite): SourceUnderTest {
  return {
    type: "azure-storage-queue",
    secret: { connectionString },
    createTopic: async (topic: string) => {
      await QueueServiceClient.fromConnectionString(connectionString).createQueue(topic);
    },
    metadata: { visibilityMs: "6000", pollMs: "200" },
    keyOrder: false,
    carriesHeaders: false,
    brokerSurvivesKill: false as const,
  };
}

function azureCases(theBroker: () => Promise<Azurite>): void {
  describe("source azure-storage-queue, beyond the contract", { timeout: 300_000 }, () => {
    let under: SourceUnderTest;
    let bench: Bench;
    let service: QueueServiceClient;
    beforeAll(async () => {
      const broker = await theBroker();
      under = underTest(broker);
      bench = createBench(under);
      service = QueueServiceClient.fromConnectionString(broker.connectionString);
    }, 600_000);
    afterEach(() => bench?.closeAll());

    test("a message stays hidden from others while its function runs", async () => {
      const topic = await bench.newTopic();
      await bench.publish(topic, plain(["slow"]));
      const seen: string[] = [];
      const slow: Deliver = async (_target, event) => {
        seen.push(textOf(event));
        await sleep(13_000);
        return done();
      };
      const both = [await bench.begin(slow, { topic }), await bench.begin(slow, { topic })];
      await until("it runs", () => seen.length > 0);
      await until("it is settled", () => both.every(({ consumer }) => consumer.stats().held === 0));
      await until("it is gone", async () => (await both[0]?.consumer.lag()) === 0);
      expect(seen).toEqual(["slow"]);
    });

    test("two replicas of the service share a trigger's messages", () => sharedTriggerCase(under, undefined));

    test("what fails for good goes to the poison queue, as it was", async () => {
      const topic = await bench.newTopic();
      await bench.publish(topic, plain(["bad", "good"]));
      const metadata = { ...under.metadata, poisonQueue: "true" };
      const begun = await bench.begin(
        (_target, event) => Promise.resolve(textOf(event) === "bad" ? failed() : done()),
        { topic, metadata, maxRetries: 1 },
      );
      const poison: string[] = [];
      await bench.begin(
        (_target, event) => {
          poison.push(textOf(event));
          return Promise.resolve(done());
        },
        { topic: `${topic}-poison` },
      );
      await until("it is in the poison queue", () => poison.length > 0);
      await until("nothing is left", async () => (await begun.consumer.lag()) === 0);
      expect(poison).toEqual(["bad"]);
      expect(begun.buried).toEqual([]);
    });

    test("a queue that is not there is named, and read once it is", async () => {
      const topic = `missing-${Date.now()}`;
      const { states } = await bench.begin(() => Promise.resolve(done()), { topic });
      await until("it is told", () => states.length > 0);
      expect(states[0]).toEqual({
        connected: false,
        error: `Queue "${topic}" does not exist in the storage account`,
      });
      await service.createQueue(topic);
      await until("it is connected", () => states.at(-1)?.connected === true);
    });

    test("reads and writes bodies in base64 and as they are", async () => {
      const bytes = Buffer.from([0, 255, 1, 254]);
      const cases = [
        { encoding: "auto", sent: "not base64: ä", read: Buffer.from("not base64: ä") },
        { encoding: "auto", sent: bytes.toString("base64"), read: bytes },
        { encoding: "base64", sent: bytes.toString("base64"), read: bytes },
        { encoding: "plain", sent: "AAAA", read: Buffer.from("AAAA") },
      ];
      for (const { encoding, sent, read } of cases) {
        const topic = await bench.newTopic();
        await service.getQueueClient(topic).sendMessage(sent);
        const seen: Uint8Array[] = [];
        await bench.begin(
          (_target, event) => {
            seen.push(event.body);
            return Promise.resolve(done(`answer to ${sent}`));
          },
          { topic, metadata: { ...under.metadata, encoding }, responseTopic: `${topic}-answers` },
        );
        await until("it is delivered", () => seen.length > 0);
        expect(Buffer.from(seen[0] ?? []).equals(read)).toBe(true);
        const answers: string[] = [];
        await until("the answer is there", async () => {
          const queue = service.getQueueClient(`${topic}-answers`);
          const reply = await queue.peekMessages().catch(() => undefined);
          answers.push(...(reply?.peekedMessageItems ?? []).map(({ messageText }) => messageText));
          return answers.length > 0;
        });
        const text = Buffer.from(`answer to ${sent}`);
        expect(answers[0]).toBe(encoding === "plain" ? text.toString() : text.toString("base64"));
      }
    });
  });
}
