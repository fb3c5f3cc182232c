import { request } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { COUNTERS_PATH, LATENCY_BUCKET_BOUNDS_MS, RevisionCounters } from "../../api/wire/counters.ts";
import { EMPTY_SHA256, signer } from "../../net/sign.ts";
import { createWorld, keys, type RunningRouter, type World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const reason = async (reply: Response): Promise<unknown> =>
  ((await reply.json()) as { reason: string }).reason;
const revisionOf = async (reply: Response): Promise<string> => {
  expect(reply.status).toBe(200);
  return ((await reply.json()) as { revision: string }).revision;
};
const ask = async (url: string, headers: Record<string, string> = {}) =>
  revisionOf(await fetch(url, { headers }));

/** How many of so many calls each revision got; some at a time. */
async function countOf(
  requests: number,
  call: (i: number) => Promise<string>,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let at = 0; at < requests; at += 20) {
    const some = Array.from({ length: Math.min(20, requests - at) }, (_, i) => call(at + i));
    for (const revision of await Promise.all(some)) counts[revision] = (counts[revision] ?? 0) + 1;
  }
  return counts;
}

/** Two versions of function "hello", whose revisions have their names, with a pod each; the function itself serves `r3`. */
async function release(): Promise<void> {
  world.deploy({ revision: "r3" });
  for (const version of ["hello-v1", "hello-v2"]) {
    world.version(version);
    await world.pod({ revision: version });
  }
}

const sign = signer(keys, "router-internal");
const signed = (router: RunningRouter, target: string) =>
  fetch(router.internalUrl + target, { headers: sign({ method: "GET", target, bodySha256: EMPTY_SHA256 }) });

/** `fetch` allows no Host header. */
const withHost = (router: RunningRouter, host: string, path: string): Promise<[number, string]> =>
  new Promise((resolve, reject) => {
    const outgoing = request({ port: router.port, host: "127.0.0.1", path, headers: { host } }, (reply) => {
      let body = "";
      reply.on("data", (chunk: Buffer) => (body += chunk.toString()));
      reply.on("end", () => resolve([reply.statusCode ?? 0, body]));
    });
    outgoing.on("error", reject).end();
  });

describe("a trigger", () => {
  test("of a version calls that version, also while the function serves another one", async () => {
    await release();
    world.trigger("t", {
      relativeurl: "/v",
      functionref: { type: "name", name: "hello", version: "hello-v1" },
    });
    world.trigger("f", { relativeurl: "/f" });
    const { url } = await world.router();
    expect([await ask(`${url}/v`), await ask(`${url}/f`)]).toEqual(["hello-v1", "r3"]);
    expect(world.executor.acquires.map(({ name, uid, revision }) => [name, uid, revision])).toEqual([
      ["hello", "uid-hello", "r3"],
    ]);
  });

  test("of a version or alias that is not there, or of another function, is 404 until it is", async () => {
    await release();
    world.version("other-v1", { name: "other" });
    const to = (path: string, functionref: object) =>
      world.trigger(path.slice(1), {
        relativeurl: path,
        functionref: { type: "name", name: "hello", ...functionref },
      });
    to("/v", { version: "hello-v9" });
    to("/a", { alias: "prod" });
    to("/o", { version: "other-v1" });
    const { url } = await world.router();
    for (const path of ["/v", "/a", "/o"]) {
      const reply = await fetch(url + path);
      expect([path, reply.status, await reason(reply)]).toEqual([path, 404, "version_not_found"]);
    }
    world.version("hello-v9", { ready: false });
    await world.until(async () => (await fetch(`${url}/v`)).status === 503, "the version");
    world.version("hello-v9", { revision: "hello-v2" });
    world.alias("prod", { version: "hello-v1" });
    await world.until(async () => (await fetch(`${url}/v`)).status === 200, "the version's serving");
    await world.until(async () => (await fetch(`${url}/a`)).status === 200, "the alias");
    expect([await ask(`${url}/v`), await ask(`${url}/a`)]).toEqual(["hello-v2", "hello-v1"]);
  });

  test("with weights splits requests exactly, and by a header keeps its callers as the weight grows", async () => {
    for (const name of ["new", "old"]) {
      world.deploy({ name, revision: name });
      await world.pod({ name, revision: name });
    }
    const weights = (path: string, weight: number, sticky?: string) =>
      world.trigger(
        path.slice(1),
        {
          relativeurl: path,
          functionref: {
            type: "function-weights",
            name: "",
            functionweights: { new: weight, old: 100 - weight },
          },
        },
        sticky ? { annotations: { "isotope.dev/sticky": sticky } } : {},
      );
    weights("/w", 17);
    weights("/s", 0, "header:X-User");
    const { url } = await world.router();
    expect(await countOf(200, () => ask(`${url}/w`))).toEqual({ new: 34, old: 166 });
    const people = Array.from({ length: 30 }, (_, i) => `user-${i}`);
    let before: string[] = [];
    for (const weight of [10, 40, 90]) {
      weights("/s", weight, "header:X-User");
      const probe = async () => {
        const sides = await Promise.all(people.map((user) => ask(`${url}/s`, { "x-user": user })));
        return people.filter((_, i) => sides[i] === "new");
      };
      await world.until(async () => (await probe()).length > before.length, "the new weight");
      const have = await probe();
      expect(before.filter((user) => !have.includes(user))).toEqual([]);
      expect(await probe()).toEqual(have);
      before = have;
    }
  });

  test.each([
    ["cookie:sid", (i: number) => ["/w", { cookie: `a=1; sid=s${i}` }] as const],
    ["query:user", (i: number) => [`/w?x=1&user=u${i}`, {}] as const],
    ["client", () => ["/w", {}] as const],
  ])("sticky by %s", async (sticky, requestOf) => {
    await release();
    world.alias(
      "prod",
      { version: "hello-v1", secondaryVersion: "hello-v2", weight: 50 },
      { "isotope.dev/sticky": sticky },
    );
    world.trigger("t", { prefix: "/w", functionref: { type: "name", name: "hello", alias: "prod" } });
    const { url } = await world.router();
    const sides = new Set<string>();
    for (let i = 0; i < 20; i += 1) {
      const [path, headers] = requestOf(i);
      const first = await ask(url + path, headers);
      expect([await ask(url + path, headers), await ask(url + path, headers)]).toEqual([first, first]);
      sides.add(first);
    }
    expect(sides.size).toBe(sticky === "client" ? 1 : 2);
  });
});

describe("an alias", () => {
  const route = (metadata = {}) =>
    world.trigger(
      "t",
      { relativeurl: "/a", functionref: { type: "name", name: "hello", alias: "prod" } },
      metadata,
    );

  test("splits exactly, and follows its weight", async () => {
    await release();
    route();
    world.alias("prod", { version: "hello-v1", secondaryVersion: "hello-v2", weight: 95 });
    const { url } = await world.router();
    expect(await countOf(200, () => ask(`${url}/a`))).toEqual({ "hello-v1": 190, "hello-v2": 10 });
    world.alias("prod", { version: "hello-v1", secondaryVersion: "hello-v2", weight: 0 });
    await world.until(async () => (await countOf(20, () => ask(`${url}/a`)))["hello-v1"] === undefined);
    expect(await countOf(50, () => ask(`${url}/a`))).toEqual({ "hello-v2": 50 });
  });

  test("switched there and back under traffic fails no request, and what is in flight finishes", async () => {
    await release();
    const [old] = world.executor.pods.get("uid-hello/hello-v1") ?? [];
    world.trigger("t", { prefix: "/a", functionref: { type: "name", name: "hello", alias: "prod" } });
    world.alias("prod", { version: "hello-v1" });
    const { url } = await world.router();
    const held = fetch(`${url}/a/held`);
    await world.until(() => old?.held.length === 1, "a request in flight");
    const traffic = new AbortController();
    const seen = new Set<string>();
    const callers = Array.from({ length: 4 }, async () => {
      while (!traffic.signal.aborted) seen.add(await ask(`${url}/a/x`));
    });
    for (const version of ["hello-v2", "hello-v1", "hello-v2"]) {
      world.alias("prod", { version });
      await world.until(async () => (await ask(`${url}/a/x`)) === version, version);
    }
    traffic.abort();
    await Promise.all(callers);
    expect([...seen].toSorted()).toEqual(["hello-v1", "hello-v2"]);
    old?.held[0]?.();
    expect((await held).status).toBe(200);
    expect(world.executor.acquires).toEqual([]);
  });

  test("that is switched to a version which cannot serve yet goes on with what it has", async () => {
    await release();
    route();
    world.alias("prod", { version: "hello-v1" });
    const { url } = await world.router();
    expect(await ask(`${url}/a`)).toBe("hello-v1");
    world.version("hello-v3", { ready: false });
    world.alias("prod", { version: "hello-v3" });
    for (let i = 0; i < 20; i += 1) expect(await ask(`${url}/a`)).toBe("hello-v1");
    world.version("hello-v3", { revision: "hello-v2" });
    await world.until(async () => (await ask(`${url}/a`)) === "hello-v2", "the switch");
  });

  test("sends nothing to a version that was deleted or unpublished: its share goes to the other", async () => {
    await release();
    route();
    world.alias("prod", { version: "hello-v1", secondaryVersion: "hello-v2", weight: 50 });
    const { url } = await world.router();
    expect(await countOf(100, () => ask(`${url}/a`))).toEqual({ "hello-v1": 50, "hello-v2": 50 });
    world.version("hello-v2", { ready: false });
    await world.until(async () => (await countOf(40, () => ask(`${url}/a`)))["hello-v2"] === undefined);
    expect(await countOf(50, () => ask(`${url}/a`))).toEqual({ "hello-v1": 50 });
    world.version("hello-v2");
    await world.until(async () => (await countOf(40, () => ask(`${url}/a`)))["hello-v2"] !== undefined);
    world.kube.remove("functionversions", "default", "hello-v1");
    await world.until(async () => (await countOf(40, () => ask(`${url}/a`)))["hello-v1"] === undefined);
    const [gone] = world.executor.pods.get("uid-hello/hello-v1") ?? [];
    const started = gone?.started;
    expect(await countOf(50, () => ask(`${url}/a`))).toEqual({ "hello-v2": 50 });
    world.kube.remove("functionversions", "default", "hello-v2");
    await world.until(async () => (await fetch(`${url}/a`)).status === 404);
    expect(gone?.started).toBe(started);
  });

  test("requests that wait for a function's new revision do not take those of a version with them", async () => {
    world.deploy({ revision: "shared" });
    world.version("hello-v1", { revision: "shared" });
    world.trigger("v", {
      relativeurl: "/v",
      functionref: { type: "name", name: "hello", version: "hello-v1" },
    });
    world.trigger("f", { relativeurl: "/f" });
    let open = () => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    world.executor.before = ({ revision }) => (revision === "shared" ? gate : undefined);
    const { url } = await world.router();
    const waiting = [fetch(`${url}/v`), fetch(`${url}/f`)];
    await world.until(() => world.executor.acquires.length > 0, "the acquire");
    await new Promise((resolve) => setTimeout(resolve, 50));
    world.deploy({ revision: "next" });
    await world.until(() => world.executor.acquires.some(({ revision }) => revision === "next"), "the next");
    open();
    const [version, fn] = await Promise.all(waiting);
    expect([await revisionOf(version as Response), await revisionOf(fn as Response)]).toEqual([
      "shared",
      "next",
    ]);
  });
});

describe("testers", () => {
  test("name a version by header or cookie where the trigger allows it, of its functions only", async () => {
    await release();
    world.version("other-v1", { name: "other" });
    const ref = { functionref: { type: "name", name: "hello" } };
    world.trigger(
      "open",
      { relativeurl: "/open", ...ref },
      { annotations: { "isotope.dev/preview": "true" } },
    );
    world.trigger("shut", { relativeurl: "/shut", ...ref });
    const { url } = await world.router();
    const header = { "x-isotope-version": "hello-v2" };
    expect(await ask(`${url}/open`)).toBe("r3");
    expect(await ask(`${url}/open`, header)).toBe("hello-v2");
    expect(await ask(`${url}/open`, { cookie: "a=b; isotope-version=hello-v1" })).toBe("hello-v1");
    expect(await ask(`${url}/shut`, header)).toBe("r3");
    for (const version of ["hello-v9", "other-v1", "../x"]) {
      const reply = await fetch(`${url}/open`, { headers: { "x-isotope-version": version } });
      expect([version, reply.status, await reason(reply)]).toEqual([version, 404, "version_not_found"]);
    }
  });

  test("reach every version at an address of its own, whatever the path, and others at none", async () => {
    await release();
    world.trigger("t", { relativeurl: "/hello" });
    const router = await world.router({ previewDomain: "preview.localhost" });
    const [status, body] = await withHost(router, "hello-v1.default.preview.localhost:8888", "/a/b?x=1");
    expect([status, JSON.parse(body)]).toMatchObject([200, { revision: "hello-v1", url: "/a/b?x=1" }]);
    expect((await withHost(router, "hello-v2.default.preview.localhost", "/readyz"))[1]).toContain(
      "hello-v2",
    );
    for (const host of ["hello-v9.default", "hello-v1.other", "hello-v1", "hello.default"])
      expect([host, (await withHost(router, `${host}.preview.localhost`, "/hello"))[0]]).toEqual([host, 404]);
    expect((await withHost(router, "preview.localhost", "/hello"))[1]).toContain("r3");
    const without = await world.router();
    expect((await withHost(without, "hello-v1.default.preview.localhost", "/hello"))[1]).toContain("r3");
  });
});

describe("the internal listener", () => {
  test("calls aliases and versions by name, without a trigger", async () => {
    await release();
    world.alias("prod", { version: "hello-v1" });
    // An alias wins over a version of the same name.
    world.alias("hello-v2", { version: "hello-v1" });
    const router = await world.router();
    const seen = async (target: string) => {
      const reply = await signed(router, target);
      const { revision, url } = (await reply.json()) as { revision: string; url: string };
      return [revision, url];
    };
    expect(await seen("/fission-function/hello:prod")).toEqual(["hello-v1", "/"]);
    expect(await seen("/fission-function/hello:hello-v1/a?x=1")).toEqual(["hello-v1", "/a?x=1"]);
    expect(await seen("/fission-function/default/hello:prod/b")).toEqual(["hello-v1", "/b"]);
    expect(await seen("/fission-function/default/hello%3Aprod/b")).toEqual(["hello-v1", "/b"]);
    expect(await seen("/fission-function/hello:hello-v2")).toEqual(["hello-v1", "/"]);
    expect(await seen("/fission-function/hello/x:y")).toEqual(["r3", "/x:y"]);
    for (const target of ["/fission-function/hello:none", "/fission-function/default/hello:none"]) {
      const reply = await signed(router, target);
      expect([reply.status, await reason(reply)]).toEqual([404, "version_not_found"]);
    }
  });

  test("tells what each revision counted, to signed callers", async () => {
    await release();
    world.deploy({ name: "other", revision: "o1" });
    world.alias("prod", { version: "hello-v1", secondaryVersion: "hello-v2", weight: 50 });
    world.trigger("t", { prefix: "/a", functionref: { type: "name", name: "hello", alias: "prod" } });
    world.trigger("o", { relativeurl: "/o", functionref: { type: "name", name: "other" } });
    const router = await world.router();
    const { url } = router;
    await countOf(100, () => ask(`${url}/a/x`));
    for (let i = 0; i < 100; i += 1) {
      await (await fetch(`${url}/a/status?code=${i % 2 === 0 ? 500 : 404}`)).text();
    }
    for (let i = 0; i < 4; i += 1) await (await fetch(`${url}/a/reset`, { method: "POST" })).text();
    await ask(`${url}/o`);
    const read = async (query = "") =>
      RevisionCounters.parse(await (await signed(router, COUNTERS_PATH + query)).json());
    const counters = await read("?uid=uid-hello");
    expect(counters.bounds).toEqual(LATENCY_BUCKET_BOUNDS_MS);
    expect(counters.revisions.map(({ revision }) => revision).toSorted()).toEqual(["hello-v1", "hello-v2"]);
    const sum = (field: "requests" | "serverErrors" | "clientErrors" | "platformErrors") =>
      counters.revisions.reduce((total, revision) => total + revision[field], 0);
    expect([sum("requests"), sum("serverErrors"), sum("clientErrors"), sum("platformErrors")]).toEqual([
      204, 50, 50, 4,
    ]);
    for (const { requests, buckets, namespace, function: name } of counters.revisions) {
      expect([namespace, name]).toEqual(["default", "hello"]);
      expect(requests).toBeGreaterThanOrEqual(100);
      expect(buckets.reduce((total, count) => total + count)).toBe(requests);
    }
    const all = await read();
    expect(all.revisions.map(({ function: name }) => name).toSorted()).toEqual(["hello", "hello", "other"]);
    expect([all.router, all.startedAt]).toEqual([counters.router, counters.startedAt]);
    const another = RevisionCounters.parse(await (await signed(await world.router(), COUNTERS_PATH)).json());
    expect(another.router).not.toBe(counters.router);
    expect(another.revisions).toEqual([]);
    expect((await fetch(router.internalUrl + COUNTERS_PATH)).status).toBe(401);
  });
});
