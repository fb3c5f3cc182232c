import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { startRedisServer } from "../../redis-server.ts";
import type { Broker } from "../brokers/broker.ts";
import { type QueuesService, startQueuesService } from "../queues-service.ts";
import {
  type Bench,
  CONCURRENCY,
  createBench,
  done,
  failed,
  numbers,
  plain,
  type SourceUnderTest,
  textOf,
} from "./bench.ts";
import { until } from "../../until.ts";

/** Longer than leases, sessions and visibility last. */
const OUTAGE_MS = Number(process.env["ISOTOPE_TEST_OUTAGE_MS"] ?? 30_000);
const KEYS = 3;
const keyOf = (text: string): string => `key ${Number(text) % KEYS}`;

export interface OutageOptions<B extends Broker> {
  readonly start: () => Promise<B>;
  /** One that stays up. */
  readonly theBroker: () => Promise<B>;
  readonly ways: readonly ((broker: B) => SourceUnderTest)[];
}

/** The function, the platform's Redis and the broker are away for half a minute: at the same time, each of other triggers. */
export function outageCases<B extends Broker>(name: string, options: OutageOptions<B>): void {
  describe.concurrent(`source ${name} in outages of ${OUTAGE_MS} ms`, { timeout: 600_000 }, () => {
    test("loses nothing while the function is away", async () => {
      const broker = await options.theBroker();
      await ofEach(options.ways, broker, functionOutage);
    });
    test("loses nothing while the platform's Redis is away", () => redisOutage(options));
    test("loses nothing while the broker is away, and tells it", async () => {
      const broker = await options.start();
      try {
        await brokerOutage(options, broker);
      } finally {
        await broker.remove();
      }
    });
  });
}

async function ofEach<B>(
  ways: readonly ((broker: B) => SourceUnderTest)[],
  broker: B,
  act: (under: SourceUnderTest, bench: Bench) => Promise<void>,
): Promise<void> {
  const benches: Bench[] = [];
  try {
    await Promise.all(
      ways.map((way) => {
        const under = way(broker);
        const bench = createBench(under);
        benches.push(bench);
        return act(under, bench);
      }),
    );
  } finally {
    await Promise.all(benches.map((bench) => bench.closeAll()));
  }
}

async function functionOutage(under: SourceUnderTest, bench: Bench): Promise<void> {
  const topic = await bench.newTopic();
  const texts = numbers(40);
  const seen: string[] = [];
  let away = true;
  const { buried, consumer } = await bench.begin(
    (_target, event) => {
      if (away) return Promise.resolve(failed("away"));
      seen.push(textOf(event));
      return Promise.resolve(done());
    },
    { topic, maxRetries: 100_000 },
  );
  await bench.publish(topic, plain(texts.slice(0, 20), keyOf));
  await until("it fails", () => consumer.stats().failed > 0);
  const from = performance.now();
  await bench.publish(topic, plain(texts.slice(20), keyOf));
  await restOf(from);
  expect(seen).toEqual([]);
  away = false;
  await until("all are delivered", () => new Set(seen).size === texts.length);
  await until("all is settled", () => consumer.stats().held === 0);
  expect(buried).toEqual([]);
  expect(seen.length - texts.length).toBeLessThanOrEqual(CONCURRENCY);
  if (!under.keyOrder && !under.strict) return;
  const firsts = [...new Set(seen)];
  for (let key = 0; key < KEYS; key++)
    expect(firsts.filter((text) => Number(text) % KEYS === key)).toEqual(
      texts.filter((text) => Number(text) % KEYS === key),
    );
}

async function brokerOutage<B extends Broker>({ ways }: OutageOptions<B>, broker: B): Promise<void> {
  const underWay = stage(ways.length);
  const backAgain = Promise.withResolvers<void>();
  const told = stage(ways.length);
  const each = ofEach(ways, broker, async (_under, bench) => {
    const topic = await bench.newTopic();
    const times = new Map<string, number>();
    const begun = await bench.begin(
      async (_target, event) => {
        await sleep(20);
        times.set(textOf(event), (times.get(textOf(event)) ?? 0) + 1);
        return done();
      },
      { topic },
    );
    await bench.publish(topic, plain(numbers(20), keyOf));
    await until("some are delivered", () => times.size > 2);
    underWay.reach();
    await until("the loss is told", () => begun.states.at(-1)?.connected === false);
    expect(begun.states.at(-1)?.error).toBeTruthy();
    told.reach();
    await backAgain.promise;
    await until("it is connected again", () => begun.states.at(-1)?.connected === true);
    await bench.publish(topic, plain(["20", "21", "22"], keyOf));
    await until("all are delivered", () => times.size === 23);
    await until("all is settled", () => begun.consumer.stats().held === 0);
    const duplicates = [...times.values()].reduce((sum, count) => sum + count - 1, 0);
    expect(duplicates).toBeLessThanOrEqual(20);
  });
  const outage = async (): Promise<void> => {
    await underWay.reached;
    const dies = ways.every((way) => way(broker).brokerSurvivesKill !== false);
    await broker.stop(dies ? "SIGKILL" : "SIGTERM");
    const from = performance.now();
    await told.reached;
    await restOf(from);
    await broker.start();
    backAgain.resolve();
  };
  // Whoever fails before the outage ends the wait for it.
  await Promise.race([each, Promise.all([each, outage()])]);
}

async function redisOutage<B extends Broker>(options: OutageOptions<B>): Promise<void> {
  const theBroker = await options.theBroker();
  const isBuiltIn = options.ways.some((way) => way(theBroker).redisUrl !== undefined);
  // The broker of the built-in topics is the platform's Redis.
  const own = isBuiltIn ? await options.start() : undefined;
  const redis = own ? { broker: own, url: "" } : await ownRedis();
  const unders = options.ways.map((way) => way(own ?? theBroker));
  let service: QueuesService | undefined;
  try {
    service = await startQueuesService({
      redisUrl: unders[0]?.redisUrl ?? redis.url,
      replicas: ["a", "b"],
      work: () => sleep(20),
    });
    await redisAway(service, redis.broker, unders, isBuiltIn);
  } finally {
    await service?.stop();
    await redis.broker.remove();
  }
}

async function ownRedis(): Promise<{ broker: Broker; url: string }> {
  const server = await startRedisServer("always");
  return { broker: server, url: server.url };
}

async function redisAway(
  service: QueuesService,
  redis: Broker,
  unders: readonly SourceUnderTest[],
  isBuiltIn: boolean,
): Promise<void> {
  const triggers = await Promise.all(
    unders.map(async (under, at) => {
      const bench = createBench(under);
      const [name, topic] = [`trigger-${at}`, await bench.newTopic()];
      await service.create(
        name,
        { messageQueueType: under.type, topic, metadata: under.metadata },
        under.secret,
      );
      return { name, publish: (texts: readonly string[]) => bench.publish(topic, plain(texts, keyOf)) };
    }),
  );
  const each = (act: (trigger: (typeof triggers)[number]) => Promise<void>) => Promise.all(triggers.map(act));
  const of = (name: string) => service.delivered.filter(({ trigger }) => trigger === name);
  const texts = numbers(40);
  await each(({ name }) => service.untilReady(name, "Connected"));
  await each(({ publish }) => publish(texts.slice(0, 20)));
  await each(({ name }) => until("some are delivered", () => of(name).length > 2));
  await redis.stop("SIGKILL");
  const from = performance.now();
  if (!isBuiltIn) await each(({ publish }) => publish(texts.slice(20, 30)));
  await each(({ name }) => service.untilReady(name, "RedisUnavailable"));
  await restOf(from);
  await redis.start();
  await each(({ name }) => service.untilReady(name, "Connected"));
  await each(({ publish }) => publish(texts.slice(isBuiltIn ? 20 : 30)));
  await each(async ({ name }) => {
    const idsOf = (text: string) => of(name).flatMap((one) => (one.text === text ? [one.id] : []));
    await until("all are delivered", () => texts.every((text) => idsOf(text).length > 0));
    await until("nothing is left", async () => (await service.statusOf(name))?.lag === 0);
    for (const text of texts) expect(new Set(idsOf(text)).size).toBe(1);
    // What was under way when the lease ended, and when another replica took over.
    expect(of(name).length - texts.length).toBeLessThanOrEqual(20);
  });
}

/** Reached when all are there. */
function stage(count: number): { reach(): void; readonly reached: Promise<void> } {
  const all = Promise.withResolvers<void>();
  let left = count;
  return {
    reach: () => {
      if (--left === 0) all.resolve();
    },
    reached: all.promise,
  };
}

async function restOf(from: number): Promise<void> {
  await sleep(Math.max(0, OUTAGE_MS - (performance.now() - from)));
}
