import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { buffer } from "node:stream/consumers";
import fastify from "fastify";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openFolderBucket } from "../../../engine/storage/folder-bucket.ts";
import { openPayloadStore } from "../../../engine/storage/payload-store.ts";
import type { Deliver, Outcome } from "../../../engine/triggers/delivery/event.ts";
import type { Acceptance } from "../../../engine/triggers/invocations/accept.ts";
import type { InvocationsOptions } from "../../../engine/triggers/invocations/invocations.ts";
import { orphans } from "../../../engine/triggers/invocations/orphans.ts";
import { redriveDeadLetters } from "../../../engine/triggers/invocations/redrive-dead-letters.ts";
import { invocationRoutes } from "../../../engine/triggers/invocations/routes.ts";
import { fastifyErrorHandler } from "../../../net/error-reply.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { functionObject, functionWorld, type Functions, type Replica, startReplica } from "./replica.ts";
import { startStorage, type TestStorage } from "./storage.ts";
import { asserted } from "../../asserted.ts";

const LARGE = 3 * 2 ** 20;
const DAY_MS = 24 * 3_600_000;
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const done = (body: Uint8Array = Buffer.from("done")): Outcome => ({
  kind: "done",
  status: 201,
  headers: { "content-type": "image/png" },
  body,
});
const rejected: Outcome = {
  kind: "rejected",
  failure: { status: 422, reason: "function_error", message: "answered 422" },
};

function acceptance(body: Uint8Array, given: Partial<Acceptance> = {}): Acceptance {
  return {
    event: { id: "", namespace: "default", method: "POST", path: "/", headers: {}, body },
    target: { type: "name", name: "hello" },
    source: "http",
    policy: { maxAttempts: 1, backoffBaseMs: 10, backoffCapMs: 50, jitter: false },
    ...given,
  };
}

describe.skipIf(!hasRedis)("invocations with large bodies and results", { timeout: 300_000 }, () => {
  let server: RedisServer;
  let storage: TestStorage;
  let functions: Functions;
  const replicas: Replica[] = [];
  beforeAll(async () => {
    [server, storage] = await Promise.all([startRedisServer("always"), startStorage()]);
    functions = functionWorld("default/hello", "default/other");
  });
  afterEach(async () => {
    await Promise.all(replicas.splice(0).map((replica) => replica.end().catch(() => undefined)));
  });
  afterAll(async () => {
    await storage?.remove();
    await server?.remove();
  });

  async function replica(deliver: Deliver, options: Partial<InvocationsOptions> = {}): Promise<Replica> {
    const made = await startReplica(server.url, functions, deliver, {
      payloads: storage.payloads(),
      ...options,
    });
    replicas.push(made);
    return made;
  }
  async function running(deliver: Deliver, options: Partial<InvocationsOptions> = {}): Promise<Replica> {
    const made = await replica(deliver, options);
    made.start();
    return made;
  }
  const ended = (on: Replica, id: string, status: string) =>
    asserted(async () => expect((await on.journal.get(id))?.status).toBe(status));

  it("are delivered whole, by another replica too, and their bodies go when they are not needed any more", async () => {
    const body = randomBytes(LARGE);
    const seen: string[] = [];
    const accepting = await replica(async () => done());
    const { id } = await accepting.accept(acceptance(body));
    expect(storage.sizes()).toEqual([LARGE]);
    // Redis has the record only.
    expect((await accepting.journal.get(id))?.body).toBeUndefined();
    const on = await running(async (_target, event) => {
      seen.push(digest(event.body));
      return done();
    });
    await ended(on, id, "succeeded");
    expect(seen).toEqual([digest(body)]);
    await asserted(() => expect(storage.sizes()).toEqual([]));
    await asserted(async () => expect((await on.journal.get(id))?.spill).toBeUndefined());
  });

  it("keep their large result, which is read back as it came, and is gone with its record", async () => {
    const result = randomBytes(LARGE);
    const on = await running(async () => done(result));
    const { id } = await on.accept(acceptance(Buffer.from("small")));
    await ended(on, id, "succeeded");
    const app = fastify();
    app.setErrorHandler(fastifyErrorHandler({ onUnexpected: () => undefined, debug: true }));
    invocationRoutes(app, on);
    const path = `/v1/invocations/default/${id}`;
    const view: unknown = (await app.inject(path)).json();
    expect(view).toMatchObject({ status: "succeeded", result: { status: 201, bytes: LARGE } });
    expect(view).not.toHaveProperty("result.body");
    const reply = await app.inject(`${path}/result`);
    expect(reply.headers).toMatchObject({
      "content-type": "image/png",
      "content-length": String(LARGE),
      "x-isotope-status": "201",
    });
    expect(digest(reply.rawPayload)).toBe(digest(result));
    await on.spills.remove((await on.journal.get(id))?.result?.elsewhere?.spill ?? "");
    expect((await app.inject(`${path}/result`)).statusCode).toBe(404);
    await app.close();
    await on.end();

    let calls = 0;
    const brief = await running(
      async () => {
        calls += 1;
        return done(result);
      },
      { resultTtlMs: 50 },
    );
    const forgotten = await brief.accept(acceptance(Buffer.from("small")));
    await asserted(() => expect(calls).toBe(1));
    await asserted(async () => {
      for (let partition = 0; partition < 256; partition += 1) {
        const gone = await brief.journal.clean(partition, 100);
        await Promise.all(gone.spills.map((spill) => brief.spills.remove(spill)));
      }
      expect(await brief.journal.get(forgotten.id)).toBeUndefined();
      expect(storage.sizes()).toEqual([]);
    });
  });

  it("pass a large result on to their destination whole", async () => {
    const result = randomBytes(LARGE);
    const invocation = { onSuccess: { function: { type: "name" as const, name: "other" } } };
    functions.specs.set("default/hello", functionObject("default/hello", { invocation }));
    try {
      const told: string[] = [];
      const on = await running(async (target, event) => {
        if (target.name === "other") told.push(digest(event.body));
        return done(target.name === "other" ? undefined : result);
      });
      const { id } = await on.accept(acceptance(randomBytes(LARGE)));
      await asserted(() => expect(told).toEqual([digest(result)]));
      await asserted(async () =>
        expect((await on.journal.get(id))?.destination).toMatchObject({ to: "function/other" }),
      );
      // Only the result itself is left.
      await asserted(() => expect(storage.sizes()).toEqual([LARGE]));
      await on.spills.remove((await on.journal.get(id))?.result?.elsewhere?.spill ?? "");
    } finally {
      functions.specs.set("default/hello", functionObject("default/hello"));
    }
  });

  it("are refused while the storage is down, which small ones do not notice; none that was accepted is lost, or blamed on its function", async () => {
    const body = randomBytes(LARGE);
    const seen: string[] = [];
    const on = await replica(async (_target, event) => {
      seen.push(digest(event.body));
      return done();
    });
    const before = await on.accept(acceptance(body));
    await storage.kill();
    await expect(on.accept(acceptance(body))).rejects.toMatchObject({
      code: "storage_unavailable",
      retryAfterMs: expect.any(Number),
    });
    on.start();
    const small = await on.accept(acceptance(Buffer.from("small")));
    await ended(on, small.id, "succeeded");
    await asserted(async () =>
      expect((await on.journal.get(before.id))?.failure?.reason).toBe("storage_unavailable"),
    );
    expect(await on.journal.get(before.id)).toMatchObject({ failures: 0 });
    await storage.start();
    await ended(on, before.id, "succeeded");
    expect(seen).toEqual([digest(Buffer.from("small")), digest(body)]);
    expect(await on.journal.get(before.id)).toMatchObject({ tries: 1, failures: 0, lost: 0 });
    await asserted(() => expect(storage.sizes()).toEqual([]));
  });

  it("survive a worker and a storage that are killed in the middle of their delivery", async () => {
    const body = randomBytes(LARGE);
    const stuck: string[] = [];
    const gone = await running(
      async (_target, event, { signal }) => {
        stuck.push(digest(event.body));
        await sleep(60_000, undefined, { signal });
        return done();
      },
      { leaseMs: 3_000 },
    );
    const { id } = await gone.accept(acceptance(body));
    await asserted(() => expect(stuck).toEqual([digest(body)]));
    gone.vanish();
    await storage.kill();
    let calls = 0;
    const restarts: Promise<void>[] = [];
    const again = async (_target: unknown, event: { readonly body: Uint8Array }): Promise<Outcome> => {
      calls += 1;
      // It dies again when the result is to be kept, and comes back meanwhile.
      await storage.kill();
      restarts.push(storage.start());
      return done(event.body);
    };
    const on = await running(again, { resultPatienceMs: 60_000 });
    await storage.start();
    await ended(on, id, "succeeded");
    expect(calls).toBe(1);
    const spill = (await on.journal.get(id))?.result?.elsewhere?.spill ?? "";
    await asserted(async () =>
      expect(digest((await on.spills.get(spill)) ?? Buffer.alloc(0))).toBe(digest(body)),
    );
    await on.spills.remove(spill);
    await Promise.all(restarts);
    // Its body goes after its end; what is left of it would be counted by others.
    await asserted(() => expect(storage.sizes()).toEqual([]));
    expect((await on.journal.get(id))?.status).toBe("succeeded");
  });

  it("whose result cannot be kept say so, and are not called again for that", async () => {
    let calls = 0;
    const on = await running(
      async () => {
        calls += 1;
        await storage.kill();
        return done(randomBytes(LARGE));
      },
      { resultPatienceMs: 300 },
    );
    const onSuccess = { function: { type: "name" as const, name: "other" } };
    const policy = { maxAttempts: 5 };
    const { id } = await on.accept(acceptance(Buffer.from("small"), { policy, onSuccess }));
    await ended(on, id, "succeeded");
    await storage.start();
    expect((await on.journal.get(id))?.result).toMatchObject({
      status: 201,
      elsewhere: { bytes: LARGE, lost: expect.stringContaining("storage") },
    });
    await asserted(async () =>
      expect((await on.journal.get(id))?.destination).toMatchObject({
        to: "function/other",
        error: expect.stringContaining("not kept"),
      }),
    );
    expect(calls).toBe(1);
  });

  it("that are dead letters keep their bodies, and a redrive gives them a new life", async () => {
    const body = randomBytes(LARGE);
    const seen: string[] = [];
    let well = false;
    let later = 0;
    const on = await running(
      async (_target, event) => {
        seen.push(digest(event.body));
        return well ? done() : rejected;
      },
      { payloads: storage.payloads(() => Date.now() + later) },
    );
    const [kept, purged] = [await on.accept(acceptance(body)), await on.accept(acceptance(body))];
    for (const { id } of [kept, purged]) await ended(on, id, "dead");
    const first = (await on.journal.get(kept.id))?.spill;
    well = true;
    // So much later that its body would go before its new life is over.
    later = 10 * DAY_MS;
    await storage.kill();
    await expect(redriveDeadLetters(on.journal, on.spills, [kept.id])).rejects.toMatchObject({
      code: "storage_unavailable",
    });
    expect((await on.journal.get(kept.id))?.status).toBe("dead");
    await storage.start();
    // Twice at once is once, and leaves nothing behind.
    const counts = await Promise.all([
      redriveDeadLetters(on.journal, on.spills, [kept.id, "nonsense"]),
      redriveDeadLetters(on.journal, on.spills, [kept.id]),
    ]);
    expect(counts.toSorted()).toEqual([0, 1]);
    await ended(on, kept.id, "succeeded");
    expect(first).toBeDefined();
    expect(new Set(seen)).toEqual(new Set([digest(body)]));
    const gone = await on.journal.purge([purged.id]);
    await Promise.all(gone.spills.map((spill) => on.spills.remove(spill)));
    await asserted(() => expect(storage.sizes()).toEqual([]));
  });

  it("of the same dedup key store one body; one that no record came to name goes", async () => {
    const body = randomBytes(LARGE);
    const on = await replica(async () => done());
    const first = await on.accept(acceptance(body, { dedupKey: "k" }));
    expect(await on.accept(acceptance(body, { dedupKey: "k" }))).toMatchObject({
      id: first.id,
      duplicate: true,
    });
    expect(storage.sizes()).toEqual([LARGE]);

    let nowMs = 0;
    const unclear = orphans(on.journal, on.spills, () => nowMs);
    const spill = (await on.journal.get(first.id))?.spill ?? "";
    unclear.suspect(first.id, spill);
    const orphan = await on.spills.put("default", body, "body");
    unclear.suspect("00aaaaaaaaaaaaaaaaaaaaaaaaa", orphan);
    await unclear.check();
    expect(storage.sizes()).toEqual([LARGE, LARGE]);
    nowMs = 61_000;
    await unclear.check();
    expect(await on.spills.get(orphan)).toBeUndefined();
    expect(await on.spills.get(spill)).toHaveLength(LARGE);

    // As a kill -9 between body and record leaves it: it goes by its time, with all else.
    await on.spills.put("default", body, "body");
    expect(storage.sizes()).toHaveLength(2);
    const store = await openPayloadStore({
      bucket: await openFolderBucket(storage.folder),
      spoolFolder: `${storage.folder}/spool`,
      maxBytes: 1e9,
      now: () => Date.now() + 400 * DAY_MS,
    });
    expect(await store.sweep()).toBe(2);
    expect(storage.sizes()).toEqual([]);
    // A record whose body is gone all the same is a dead letter that says so.
    on.start();
    await ended(on, first.id, "dead");
    expect((await on.journal.get(first.id))?.failure?.reason).toBe("payload_not_found");
  });

  it("are nobody's who asks for archives, and nobody's without a signature", async () => {
    const ref = await storage.payloads().put("default", randomBytes(LARGE), 60_000);
    expect((await fetch(`${storage.url}/v1/payloads/${ref}`)).status).toBe(401);
    expect((await fetch(`${storage.url}/v1/archive`)).status).toBe(401);
    // Signed for payloads: archives are somebody else's.
    const listing = await storage.client.send({ method: "GET", target: "/v1/archive" });
    listing.body.resume();
    expect(listing.status).toBe(401);
    const read = await storage.client.send({ method: "GET", target: `/v1/payloads/${ref}` });
    expect([read.status, (await buffer(read.body)).length]).toEqual([200, LARGE]);
    const odd = await storage.client.send({ method: "GET", target: "/v1/payloads/../archive" });
    odd.body.resume();
    expect(odd.status).not.toBe(200);
    await storage.payloads().remove(ref);
  });
});

describe.skipIf(!hasRedis)("a Redis that hangs", () => {
  it("refuses in time instead of holding its callers up; repeated with its key, a call is made once", async () => {
    const server = await startRedisServer();
    const calls: string[] = [];
    const on = await startReplica(server.url, functionWorld("default/hello"), async (_target, event) => {
      calls.push(event.id);
      return done();
    });
    try {
      on.start();
      server.signal("SIGSTOP");
      const call = acceptance(Buffer.from("small"), { dedupKey: "once" });
      await expect(on.accept(call)).rejects.toMatchObject({ code: "redis_unavailable" });
      server.signal("SIGCONT");
      const { id } = await on.accept(call);
      await asserted(async () => expect((await on.journal.get(id))?.status).toBe("succeeded"));
      expect(calls).toEqual([id]);
      expect(await on.accept(call)).toMatchObject({ id, duplicate: true });
    } finally {
      server.signal("SIGCONT");
      await on.end();
      await server.remove();
    }
  });
});
