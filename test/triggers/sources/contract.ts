import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Deliver, TriggerEvent } from "../../../engine/triggers/delivery/event.ts";
import {
  type BeginOptions,
  type Begun,
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
import type { Broker } from "../brokers/broker.ts";
import { sharedBroker } from "../brokers/shared-broker.ts";
import type { ConsumerProcessOptions } from "./consumer-process.ts";
import { destinationCases } from "./destinations.ts";
import { outageCases } from "./outages.ts";
import { until } from "../../until.ts";

/**
 * What every source must do, asked of a real broker.
 * @param start starts a broker of its own: one stays up for all cases of the file, others are killed
 * @param ways in which messages are taken (orders), by name
 * @returns the broker that stays up, for cases beyond the contract
 */
export function sourceContract<B extends Broker>(
  name: string,
  start: () => Promise<B>,
  ways: Readonly<Record<string, (broker: B) => SourceUnderTest>>,
): () => Promise<B> {
  const theBroker = sharedBroker(start);
  for (const [way, underTest] of Object.entries(ways))
    contractCases(way === "" ? name : `${name}, ${way}`, async () => underTest(await theBroker()));
  destinationCases(name, async () => {
    const broker = await theBroker();
    return Object.values(ways).map((way) => way(broker));
  });
  outageCases(name, { start, theBroker, ways: Object.values(ways) });
  return theBroker;
}

/** More than any of them takes as it is set up here. */
const TOO_MANY_BYTES = 6 * 2 ** 20;

export function contractCases(name: string, open: () => Promise<SourceUnderTest>): void {
  describe(`source ${name}`, { timeout: 300_000 }, () => {
    let under: SourceUnderTest;
    let bench: Bench;
    let topic: string;
    const children: ChildProcess[] = [];
    const servers: Server[] = [];

    beforeAll(async () => {
      under = await open();
      bench = createBench(under);
    }, 600_000);
    afterEach(async () => {
      await bench.closeAll();
      for (const child of children.splice(0)) child.kill("SIGKILL");
      for (const server of servers.splice(0)) server.close().closeAllConnections();
    });

    const newTopic = (): Promise<string> => bench.newTopic();
    const publish: Bench["publish"] = (to, messages) => bench.publish(to, messages);
    const begin = (deliver: Deliver, more: Partial<BeginOptions> = {}): Promise<Begun> =>
      bench.begin(deliver, { topic, ...more });
    const end: Bench["end"] = (begun, graceMs) => bench.end(begun, graceMs);

    test("hands over body, key, headers and the trigger's facts, once", async () => {
      topic = await newTopic();
      await publish(topic, [
        {
          body: Buffer.from('{"a":"ä"}'),
          headers: { "x-colour": "blue", "content-type": "application/x-own" },
          key: "k1",
        },
      ]);
      const events: TriggerEvent[] = [];
      const uid = randomUUID();
      const begun = await begin(
        (_target, event) => {
          events.push(event);
          return Promise.resolve(done());
        },
        { uid, errorTopic: "bad" },
      );
      await until("the message is delivered", () => events.length > 0);
      await until("it is settled", () => begun.consumer.stats().held === 0);
      await end(begun);
      const [event] = events;
      expect(event?.method).toBe("POST");
      expect(textOf(event ?? { body: new Uint8Array() })).toBe('{"a":"ä"}');
      expect(event?.id).toMatch(/^mqt\/mine\/./);
      expect(event?.id).toContain(topic);
      expect(event?.headers["x-fission-mqtrigger-topic"]).toBe(topic);
      expect(event?.headers["x-fission-mqtrigger-errortopic"]).toBe("bad");
      if (under.carriesHeaders) {
        expect(event?.headers["x-colour"]).toBe("blue");
        expect(event?.headers["content-type"]).toBe("application/x-own");
        expect(event?.headers["x-fission-mqtrigger-key"]).toBe("k1");
      }
      // Acknowledged: who comes after finds the next message only.
      await publish(topic, plain(["next"]));
      await begin(
        (_target, event) => {
          events.push(event);
          return Promise.resolve(done());
        },
        { uid },
      );
      await until("the next one is delivered", () => events.length > 1);
      expect(events.map(textOf)).toEqual(['{"a":"ä"}', "next"]);
    });

    test("keeps the order of a lane, through failures too, while lanes run side by side", async () => {
      if (!under.strict && !under.keyOrder) return;
      topic = await newTopic();
      const keys = under.keyOrder ? ["a", "b", "c"] : [""];
      const texts = numbers(30).flatMap((number) => keys.map((key) => `${key}${number}`));
      await publish(
        topic,
        plain(texts, (text) => text.slice(0, 1)),
      );
      const seen: string[] = [];
      const tried = new Set<string>();
      let running = 0;
      let most = 0;
      const metadata = under.keyOrder ? under.metadata : under.strict;
      const { buried } = await begin(
        async (_target, event) => {
          most = Math.max(most, ++running);
          const text = textOf(event);
          await sleep(5 * Math.random());
          running--;
          if (text.endsWith("7") && !tried.has(text)) {
            tried.add(text);
            return failed();
          }
          seen.push(text);
          return done();
        },
        metadata ? { metadata } : {},
      );
      await until("all are delivered", () => seen.length >= texts.length);
      for (const key of keys) {
        const mine = seen.filter((text) => text.startsWith(key));
        expect(mine).toEqual(numbers(30).map((number) => `${key}${number}`));
      }
      if (keys.length > 1) expect(most).toBeGreaterThan(1);
      else expect(most).toBe(1);
      expect(buried).toEqual([]);
    });

    test("buries a poisonous message after its retries, and goes on with those behind it", async () => {
      topic = await newTopic();
      const texts = ["before", "poison", ...numbers(10)];
      await publish(
        topic,
        plain(texts, () => "same"),
      );
      const seen: string[] = [];
      let tries = 0;
      const begun = await begin(
        (_target, event) => {
          if (textOf(event) === "poison") {
            tries++;
            return Promise.resolve(failed("poisonous\nstuff"));
          }
          seen.push(textOf(event));
          return Promise.resolve(done());
        },
        { maxRetries: 2 },
      );
      await until("the others are delivered", () => seen.length >= texts.length - 1);
      await until("the poison is buried", () => begun.buried.length > 0);
      expect(tries).toBe(3);
      const [grave] = begun.buried;
      expect(grave?.attempts).toBe(3);
      expect(grave?.failure.message).toBe("poisonous\nstuff");
      expect(Buffer.from(grave?.message.body ?? []).toString()).toBe("poison");
      await until("all is settled", () => begun.consumer.stats().held === 0);
    });

    test("gives up a message whose answer is too large for the response topic, and goes on with those behind it", async () => {
      const answers = await newTopic();
      topic = await newTopic();
      await publish(
        topic,
        plain(["large", "behind"], () => "same"),
      );
      const seen: string[] = [];
      const begun = await begin(
        (_target, event) => {
          seen.push(textOf(event));
          return Promise.resolve(done(textOf(event) === "large" ? "x".repeat(TOO_MANY_BYTES) : "short"));
        },
        { responseTopic: answers },
      );
      await until("it is given up", () => begun.buried.length > 0);
      await until("all is settled", () => seen.includes("behind") && begun.consumer.stats().held === 0);
      expect(begun.buried.map(({ failure }) => failure.reason)).toEqual(["body_too_large"]);
      expect(seen.filter((text) => text === "large")).toHaveLength(1);
    });

    test("begins with what was published once the trigger was there, though it was not connected yet", async () => {
      if (!under.latest) return;
      topic = await newTopic();
      await publish(topic, plain(["before"]));
      await sleep(20);
      const since = Date.now();
      await sleep(20);
      await publish(topic, plain(["between"]));
      const uid = randomUUID();
      const seen: string[] = [];
      const deliver: Deliver = (_target, event) => {
        seen.push(textOf(event));
        return Promise.resolve(done());
      };
      const begun = await begin(deliver, { uid, since, metadata: under.latest });
      await until("it is delivered", () => seen.length > 0);
      await until("it is settled", () => begun.consumer.stats().held === 0);
      await end(begun);
      await publish(topic, plain(["away"]));
      // Whoever takes it over goes on from there.
      await begin(deliver, { uid, since, metadata: under.latest });
      await until("that is delivered too", () => seen.length > 1);
      expect(seen).toEqual(["between", "away"]);
    });

    test("sends answers to the response topic and failures to the error topic, with payload, key, headers and facts", async () => {
      const [input, answers, errors] = [await newTopic(), await newTopic(), await newTopic()];
      topic = input;
      const headers = { "x-colour": "blue" };
      await publish(topic, [
        { body: Buffer.from("good"), headers, key: "k" },
        { body: Buffer.from("bad"), headers, key: "k" },
      ]);
      await begin(
        (_target, event) =>
          Promise.resolve(
            textOf(event) === "good"
              ? done("answer", { "content-type": "text/plain", "ce-type": "answered" })
              : { kind: "rejected", failure: { status: 422, reason: "function_error", message: "ünfit" } },
          ),
        { responseTopic: answers, errorTopic: errors },
      );
      const events = new Map<string, TriggerEvent>();
      for (const from of [answers, errors]) {
        topic = from;
        await begin((_target, event) => {
          events.set(from, event);
          return Promise.resolve(done());
        });
      }
      await until("both have arrived", () => events.size === 2);
      const answer = events.get(answers);
      const error = events.get(errors);
      expect(textOf(answer ?? { body: new Uint8Array() })).toBe("answer");
      expect(textOf(error ?? { body: new Uint8Array() })).toBe("bad");
      if (!under.carriesHeaders) return;
      expect(answer?.headers).toMatchObject({
        "x-colour": "blue",
        "content-type": "text/plain",
        "x-fission-mqtrigger-key": "k",
      });
      if (answer) expect(Object.keys(answer.headers)).toContain("ce-type");
      expect(error?.headers).toMatchObject({
        "x-colour": "blue",
        "isotope-failure-reason": "function_error",
        "isotope-failure-attempts": "1",
        "x-fission-mqtrigger-key": "k",
      });
    });

    test("loses nothing and buries nothing while the platform cannot take the function's calls", async () => {
      topic = await newTopic();
      const texts = numbers(20);
      await publish(
        topic,
        plain(texts, (text) => text),
      );
      const seen = new Set<string>();
      let up = false;
      let refused = 0;
      const { buried } = await begin(
        (_target, event) => {
          if (!up) {
            refused++;
            const failure = { status: 503, reason: "function_not_ready", message: "away" };
            return Promise.resolve({ kind: "overloaded", failure, afterMs: 20 });
          }
          seen.add(textOf(event));
          return Promise.resolve(done());
        },
        { maxRetries: 0 },
      );
      await until("it was refused often", () => refused > 50 || (!under.keyOrder && refused > 10));
      up = true;
      await until("all are delivered", () => seen.size === texts.length);
      expect(buried).toEqual([]);
    });

    test("loses nothing when the consumer's process is killed, and repeats no more than what was under way", async () => {
      topic = await newTopic();
      const times = new Map<string, number>();
      const ids = new Map<string, Set<string>>();
      const note = (text: string, id: string): void => {
        times.set(text, (times.get(text) ?? 0) + 1);
        ids.set(text, (ids.get(text) ?? new Set()).add(id));
      };
      const server = createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          note(Buffer.concat(chunks).toString("utf8"), String(request.headers["x-event-id"]));
          setTimeout(() => response.end("ok"), 30);
        });
      });
      servers.push(server);
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      const options: ConsumerProcessOptions = {
        type: under.type,
        metadata: under.metadata,
        secret: under.secret ?? {},
        redisUrl: under.redisUrl,
        topic,
        uid: randomUUID(),
        concurrency: CONCURRENCY,
        functionUrl: `http://127.0.0.1:${port}/`,
      };
      const start = (): ChildProcess => {
        const script = join(import.meta.dirname, "consumer-process.ts");
        const child = spawn(process.execPath, [script, JSON.stringify(options)], {
          stdio: ["ignore", "ignore", "inherit"],
        });
        children.push(child);
        return child;
      };
      const total = 60;
      await publish(
        topic,
        plain(numbers(total), (text) => text),
      );
      for (const atLeast of [10, 30]) {
        const child = start();
        await until(`${atLeast} are delivered`, () => times.size >= atLeast);
        const gone = once(child, "exit");
        child.kill("SIGKILL");
        await gone;
      }
      await begin(
        (_target, event) => {
          note(textOf(event), event.id);
          return Promise.resolve(done());
        },
        { uid: options.uid, name: "killed" },
      );
      await until("all are delivered", () => times.size === total);
      for (const [text, mine] of ids) expect([text, mine.size]).toEqual([text, 1]);
      const duplicates = [...times.values()].reduce((sum, count) => sum + count - 1, 0);
      expect(duplicates).toBeLessThanOrEqual(2 * underWay(under));
    });

    test("finishes what is under way when it is closed, and hands back the rest", async () => {
      topic = await newTopic();
      const uid = randomUUID();
      const total = 30;
      await publish(
        topic,
        plain(numbers(total), (text) => text),
      );
      const times = new Map<string, number>();
      const deliver: Deliver = async (_target, event) => {
        await sleep(50);
        times.set(textOf(event), (times.get(textOf(event)) ?? 0) + 1);
        return done();
      };
      const first = await begin(deliver, { uid });
      await until("some are delivered", () => times.size >= 3);
      await end(first, 30_000);
      const before = times.size;
      expect(before).toBeLessThan(total);
      await begin(deliver, { uid });
      await until("all are delivered", () => times.size === total);
      expect([...times.values()].filter((count) => count !== 1)).toEqual([]);
    });

    test("takes CloudEvents in binary and in structured form, and makes one of any other message", async () => {
      topic = await newTopic();
      const attributes = { specversion: "1.0", id: "e-1", source: "/orders", type: "order.placed" };
      const structured = {
        ...attributes,
        subject: "größe",
        datacontenttype: "text/plain",
        data: "of its own",
      };
      const events: TriggerEvent[] = [];
      const collect: Deliver = (_target, event) => {
        events.push(event);
        return Promise.resolve(done());
      };
      await publish(topic, [
        {
          body: Buffer.from(JSON.stringify(structured)),
          headers: under.carriesHeaders ? { "content-type": "application/cloudevents+json" } : {},
        },
      ]);
      // Where messages have no headers, the trigger says what they are.
      await begin(collect, under.carriesHeaders ? {} : { contentType: "application/cloudevents+json" });
      await until("the structured one has come", () => events.length === 1);
      expect(events[0]?.headers).toMatchObject({
        "ce-id": "e-1",
        "ce-source": "/orders",
        "ce-type": "order.placed",
        "ce-subject": "gr%C3%B6%C3%9Fe",
        "content-type": "text/plain",
      });
      expect(textOf(events[0] ?? { body: new Uint8Array() })).toBe("of its own");
      await bench.closeAll();
      topic = await newTopic();
      const binary = Object.fromEntries(
        Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value]),
      );
      await publish(topic, [
        { body: Buffer.from("plain"), headers: {} },
        ...(under.carriesHeaders ? [{ body: Buffer.from("binary"), headers: binary }] : []),
      ]);
      await begin(collect);
      await until("the others have come", () => events.length === (under.carriesHeaders ? 3 : 2));
      const made = events.find((event) => textOf(event) === "plain");
      expect(made?.headers).toMatchObject({
        "ce-specversion": "1.0",
        "ce-type": "dev.isotope.message",
        "ce-source": "/isotope/default/messagequeuetriggers/mine",
        "ce-subject": topic,
      });
      expect(made?.headers["ce-id"]).toContain(topic);
      if (under.carriesHeaders)
        expect(events.find((event) => textOf(event) === "binary")?.headers).toMatchObject(binary);
    });

    test("hands over nothing while it is paused, and everything once it is resumed", async () => {
      topic = await newTopic();
      const seen: string[] = [];
      const begun = await begin((_target, event) => {
        seen.push(textOf(event));
        return Promise.resolve(done());
      });
      await publish(topic, plain(["first"]));
      await until("it takes messages", () => seen.length === 1);
      await begun.consumer.pause();
      // What was being fetched at that moment may come.
      await publish(topic, plain(["second"]));
      await sleep(200);
      await publish(topic, plain(["third"]));
      await sleep(300);
      expect(seen).not.toContain("third");
      await begun.consumer.resume();
      await until("all are delivered", () => seen.includes("second") && seen.includes("third"));
    });

    test("says how much is to be done", async () => {
      topic = await newTopic();
      await publish(
        topic,
        plain(numbers(5), (text) => text),
      );
      const gate = Promise.withResolvers<void>();
      const { consumer } = await begin(
        async () => {
          await gate.promise;
          return done();
        },
        { concurrency: 1 },
      );
      await until("it is working", () => consumer.stats().held > 0);
      expect(await consumer.lag()).toBe(5);
      gate.resolve();
      await until("nothing is left", async () => (await consumer.lag()) === 0);
    });
  });
}

/** Messages that can be under way, or settled and not yet written down, when a process dies. */
const underWay = (under: SourceUnderTest): number => (under.keyOrder ? 4 * CONCURRENCY : CONCURRENCY);
