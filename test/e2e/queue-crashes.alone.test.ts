import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MessageList } from "../../api/wire/topics.ts";
import { hasRedis } from "../redis-server.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import { isotope as run } from "./releasing.ts";
import type { TestPlatform } from "./test-platform.ts";
import { killObstacle, type TriggerReplicas, triggerReplicas } from "./trigger-replicas.ts";
import { asserted } from "../asserted.ts";

const MESSAGES = 24;
const CONCURRENCY = 4;
/** Takes its time, so that something is always under way. */
const SLOW = `
export const config = { route: false, requestsPerPod: 100 };
export default async (request: Request) => {
  const text = await request.text();
  await new Promise((done) => setTimeout(done, 300));
  return new Response(text + " " + request.headers.get("idempotency-key"));
};`;

const obstacle = killObstacle(onCluster) ?? (onCluster || hasRedis ? undefined : "no Redis is installed");

describe.skipIf(obstacle !== undefined)("message queue triggers, when processes die in mid-delivery", () => {
  let platform: TestPlatform;
  let replicas: TriggerReplicas;
  beforeAll(async () => {
    platform = await startTestPlatform();
    await deploy(platform, { "slow.ts": SLOW });
    replicas = await triggerReplicas(platform);
  }, 300_000);
  afterAll(async () => {
    await replicas?.stop();
    await platform?.stop();
  });

  const isotope = (...args: string[]): Promise<string> => run(platform, ...args);
  const answers = async (topic: string): Promise<string[]> => {
    const { text } = await platform.ops(`/v1/topics/${platform.namespace}/${topic}-answers?limit=1000`);
    return MessageList.parse(JSON.parse(text)).items.map(({ data }) => data);
  };
  const createTrigger = async (name: string): Promise<void> => {
    const source = ["--mqtype", "redis-streams", "--topic", name, "--resptopic", `${name}-answers`];
    const call = ["--function", "slow", "--concurrency", String(CONCURRENCY), "--maxretries", "10"];
    await isotope("mqt", "create", "--name", name, ...source, ...call);
    await isotope("mqt", "wait", name);
  };
  const publishAll = (topic: string) =>
    Promise.all(
      Array.from({ length: MESSAGES }, async (_, at) => {
        const { status } = await platform.ops(`/v1/topics/${platform.namespace}/${topic}`, {
          data: `m${at}`,
        });
        expect(status).toBe(202);
      }),
    );
  /** All messages were delivered; those twice that were under way, with the key that they had before. */
  const expectAll = (given: readonly string[]): void => {
    const keys = new Set(given);
    const texts = new Set(given.map((answer) => answer.split(" ")[0]));
    expect(texts).toEqual(new Set(Array.from({ length: MESSAGES }, (_, at) => `m${at}`)));
    expect(keys.size).toBe(MESSAGES);
    // Twice that many where a busy machine takes so long to bring Redis back that the consumer is closed as well.
    expect(given.length - MESSAGES).toBeLessThanOrEqual(2 * CONCURRENCY);
  };

  it("replicas share them; one that is killed, Redis with it, leaves its share to the other", async () => {
    const topics = ["a", "b"];
    for (const topic of topics) await createTrigger(topic);
    await replicas.shared();
    await Promise.all(topics.map(publishAll));
    for (const topic of topics)
      await asserted(async () => expect((await answers(topic)).length).toBeGreaterThan(2));
    await replicas.killOneAndRedis();
    for (const topic of topics)
      expectAll(
        await asserted(async () => {
          const given = await answers(topic);
          expect(new Set(given).size).toBe(MESSAGES);
          return given;
        }),
      );
  }, 480_000);

  it("all are killed: what was under way comes again, with the same key", async () => {
    await createTrigger("c");
    await publishAll("c");
    await asserted(async () => expect((await answers("c")).length).toBeGreaterThan(2));
    await replicas.killAll();
    const given = await asserted(async () => {
      const all = await answers("c");
      expect(new Set(all).size).toBe(MESSAGES);
      return all;
    });
    expectAll(given);
    await isotope("mqt", "wait", "c");
  }, 480_000);
});
