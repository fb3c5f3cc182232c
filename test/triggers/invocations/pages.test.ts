import { z } from "zod";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { invocationRoutes } from "../../../engine/triggers/invocations/routes.ts";
import { referenceDeadLetterRoutes } from "../../../engine/triggers/invocations/reference-routes.ts";
import { createTriggerServer } from "../../../engine/triggers/server.ts";
import { TRIGGERS_AUDIENCE } from "../../../api/wire/invocations.ts";
import { processLog } from "../../../net/log.ts";
import { signedClient } from "../../../net/signed-client.ts";
import { text } from "node:stream/consumers";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { keys } from "../../router/world.ts";
import { functionWorld, type Replica, startReplica } from "./replica.ts";

const Reply = z.looseObject({
  items: z.array(z.looseObject({ id: z.string() })).default([]),
  count: z.number().default(0),
  continue: z.string().optional(),
});
const FAILURE = { status: 500, reason: "function_error", message: "answered 500" };

/** The trigger service's API with real dead letters, and no deliveries. */
describe.skipIf(!hasRedis)("dead letters over HTTP", () => {
  let server: RedisServer;
  let on: Replica;
  let close: () => Promise<void>;
  let call: (
    method: "GET" | "POST",
    target: string,
    body?: object,
  ) => Promise<{ status: number; body: z.infer<typeof Reply> }>;

  beforeAll(async () => {
    server = await startRedisServer();
    on = await startReplica(server.url, functionWorld("default/a", "default/b", "other/a"), () =>
      Promise.reject(new Error("Nothing is delivered here")),
    );
    const app = createTriggerServer({
      keys,
      log: processLog("test", { level: "error" }),
      notReady: () => undefined,
      routes: [(scope) => invocationRoutes(scope, on), (scope) => referenceDeadLetterRoutes(scope, on)],
    });
    const origin = await app.listen({ host: "127.0.0.1", port: 0 });
    const client = signedClient({
      keys,
      origin,
      audience: TRIGGERS_AUDIENCE,
      unavailable: "triggers_unavailable",
    });
    call = async (method, target, body) => {
      const reply = await client.send({
        method,
        target,
        ...(body ? { body: JSON.stringify(body), headers: { "content-type": "application/json" } } : {}),
      });
      return { status: reply.status, body: Reply.parse(JSON.parse(await text(reply.body))) };
    };
    close = async () => {
      await client.close();
      await app.close();
    };
  });
  afterAll(async () => {
    await close?.();
    await on?.end();
    await server?.remove();
  });

  const bury = async (count: number, key: string, source = "mqt/orders"): Promise<string[]> => {
    const [namespace = "", name = ""] = key.split("/");
    return Promise.all(
      Array.from({ length: count }, async (_, at) => {
        const event = {
          id: "",
          namespace,
          method: "POST",
          path: "/",
          headers: { "content-type": "text/plain" },
          body: Buffer.from(`letter ${at}`),
        };
        return (await on.bury({ event, target: { type: "name", name }, source }, FAILURE, 4)).id;
      }),
    );
  };
  const pages = async (query: string): Promise<string[]> => {
    const ids: string[] = [];
    for (let more = ""; ; ) {
      const { status, body } = await call("GET", `/v1/dlq?${query}${more}`);
      expect(status).toBe(200);
      ids.push(...body.items.map(({ id }) => id));
      if (body.continue === undefined) return ids;
      more = `&continue=${body.continue}`;
    }
  };
  const clear = () => on.redis.client().flushall();

  it("come in pages, each of them once, over several functions", async () => {
    await clear();
    const ids = [...(await bury(130, "default/a")), ...(await bury(70, "default/b"))];
    await bury(5, "other/a");
    for (const limit of [1_000, 200, 64, 7])
      expect((await pages(`namespace=default&limit=${limit}`)).toSorted()).toEqual(ids.toSorted());
    // What was tried elsewhere says how often.
    expect(await call("GET", "/v1/dlq?limit=1")).toMatchObject({ body: { items: [{ tries: 4 }] } });
    const everywhere = await pages("limit=50");
    expect(everywhere).toHaveLength(205);
    expect(await call("GET", "/v1/dlq?continue=nonsense")).toMatchObject({
      status: 400,
      body: { reason: "bad_request" },
    });
  });

  it("of one source are found behind many of another", async () => {
    await clear();
    const rare = await bury(3, "default/a", "timer/nightly");
    await bury(2_200, "default/a");
    expect((await pages("namespace=default&source=timer/nightly&limit=10")).toSorted()).toEqual(
      rare.toSorted(),
    );
    const gone = { namespace: "default", source: "timer/nightly" };
    let count = 0;
    for (let more: string | undefined = ""; more !== undefined; ) {
      const { body } = await call("POST", "/v1/dlq/purge", { ...gone, ...(more ? { continue: more } : {}) });
      count += body.count;
      more = body.continue;
    }
    expect(count).toBe(3);
  });

  it("are redriven by thousands, and those that die again meanwhile are not redriven a second time", async () => {
    await clear();
    await bury(1_500, "default/a");
    const first = await call("POST", "/v1/dlq/redrive", { namespace: "default", all: true });
    expect(first.body).toMatchObject({ count: 1_000, continue: expect.any(String) });
    // Those of the first page are dead letters again before the second one is asked for.
    await bury(1_200, "default/b");
    const second = await call("POST", "/v1/dlq/redrive", {
      namespace: "default",
      all: true,
      continue: first.body.continue,
    });
    expect(second.body).toMatchObject({ count: 500 });
    expect(second.body.continue).toBeUndefined();
    expect(await on.journal.count("default/a")).toEqual({ waiting: 1_500, running: 0, dead: 0 });
    expect(await on.journal.count("default/b")).toMatchObject({ waiting: 0, dead: 1_200 });
  });

  it("are named by their ids all or none: a misspelt one, or one of elsewhere, changes nothing", async () => {
    await clear();
    const [a = "", b = ""] = await bury(2, "default/a");
    const [elsewhere = ""] = await bury(1, "other/a");
    for (const how of ["redrive", "purge"])
      for (const wrong of [elsewhere, "0".repeat(27), "misspelt"])
        expect(
          await call("POST", `/v1/dlq/${how}`, { namespace: "default", ids: [a, wrong, b] }),
        ).toMatchObject({
          status: 404,
          body: {
            reason: "invocation_not_found",
            message: `"${wrong}" is no dead letter of namespace "default"; nothing was changed`,
          },
        });
    expect(await on.journal.count("default/a")).toEqual({ waiting: 0, running: 0, dead: 2 });
    const twice = await call("POST", "/v1/dlq/redrive", { namespace: "default", ids: [a, a] });
    expect(twice).toMatchObject({ status: 200, body: { count: 1 } });
    expect(await on.journal.count("default/a")).toEqual({ waiting: 1, running: 0, dead: 1 });
    // It waits for its delivery: nobody may remove it as a dead letter.
    expect(await call("POST", "/v1/dlq/purge", { namespace: "default", ids: [a] })).toMatchObject({
      status: 404,
    });
  });

  it("have the reference system's routes", async () => {
    await clear();
    const [id = ""] = await bury(1, "default/a");
    await bury(3, "default/b");
    await bury(2, "other/a");
    const listed = await call("GET", "/v1/async/dlq/list?namespace=default&queue=asyncinv");
    expect(listed.body.items).toHaveLength(4);
    expect((await call("GET", "/v1/async/dlq/list?queue=mq-egress-kafka")).body.items).toEqual([]);
    expect(await call("GET", "/v1/async/dlq/list?queue=other")).toMatchObject({ status: 400 });
    expect((await call("GET", `/v1/async/dlq/show?id=${id}`)).body).toMatchObject({
      id,
      status: "dead",
      lastError: { status: 500, message: "answered 500" },
      request: { headers: { "content-type": "text/plain" }, body: { text: "letter 0" } },
    });
    expect(await call("GET", "/v1/async/dlq/show?id=nothing")).toMatchObject({ status: 404 });
    expect(await call("POST", "/v1/async/dlq/redrive")).toMatchObject({ status: 400 });
    expect((await call("POST", `/v1/async/dlq/redrive?id=${id}`)).body.count).toBe(1);
    expect((await call("POST", "/v1/async/dlq/redrive?all=true&namespace=other")).body.count).toBe(2);
    expect((await call("POST", "/v1/async/dlq/purge?namespace=default")).body.count).toBe(3);
    expect((await call("GET", "/v1/async/dlq/list")).body.items).toEqual([]);
  });
});
