import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { KubernetesWatchTrigger } from "../../../api/kinds/index.ts";
import { startWatches, type WatchDeps } from "../../../engine/triggers/watches/start-watches.ts";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import { CONFIG_MAPS } from "../../../kube/core.ts";
import { watchFunctionWorld } from "../../../kube/function-world.ts";
import { KubeError } from "../../../kube/kube-error.ts";
import { KUBERNETES_WATCH_TRIGGERS } from "../../../kube/kinds.ts";
import { resourceType } from "../../../kube/resource.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import { processLog } from "../../../net/log.ts";
import { redisConnection } from "../../../net/redis.ts";
import { condition, type KubeServer, startKube } from "../../controller/platform.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { type RecordedCalls, recordedCalls } from "../timers/recorded-calls.ts";
import { eventually } from "../../eventually.ts";

// Generous where it waits: what is tested is what happens, not how fast on a busy machine.
const log = processLog("triggers", { level: "error", write: (line) => process.stderr.write(line) });
const PODS = resourceType("v1", "Pod", "pods");

describe.skipIf(!hasRedis)("watch triggers", { timeout: 300_000 }, () => {
  let kube: KubeServer;
  let server: RedisServer;
  let queue: RecordedCalls;
  const stops: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    [kube, server] = await Promise.all([startKube(), startRedisServer()]);
  });
  afterAll(async () => {
    await Promise.all([kube.stop(), server.remove()]);
  });
  beforeEach(() => {
    queue = recordedCalls(server.url);
  });
  afterEach(async () => {
    await Promise.all(stops.splice(0).map((stop) => stop()));
    queue.close();
    const redis = new Redis(server.url);
    await redis.flushall();
    redis.disconnect();
    await kube.client.deleteCollection(KUBERNETES_WATCH_TRIGGERS, { namespace: "default" });
    await kube.client.deleteCollection(CONFIG_MAPS, { namespace: "default" });
  });

  let replicas = 0;
  function replica(given: Partial<WatchDeps> = {}): { stop: () => Promise<void> } {
    const redis = redisConnection({ url: server.url, log, name: "watches" });
    const functions = watchFunctionWorld(kube.client, () => undefined);
    functions.start();
    const part = startWatches({
      client: kube.client,
      log,
      redis,
      functions,
      accept: queue.accept,
      metrics: triggerMetrics(metricsRegistry()),
      name: `replica-${++replicas}`,
      // Leases that no busy machine lets run out: who leaves lets go of them.
      limits: { roundMs: 100, leaseMs: 15_000 },
      ...given,
    });
    let stopped = false;
    const stop = async () => {
      if (stopped) return;
      stopped = true;
      await part.stop(0);
      await functions.stop();
      await redis.close();
    };
    stops.push(stop);
    return { stop };
  }
  const get = (name: string) => kube.client.get(KUBERNETES_WATCH_TRIGGERS, { namespace: "default", name });
  const create = (name: string, spec: Partial<KubernetesWatchTrigger["spec"]>) =>
    kube.client.create(KUBERNETES_WATCH_TRIGGERS, {
      apiVersion: "fission.io/v1",
      kind: "KubernetesWatchTrigger",
      metadata: { namespace: "default", name },
      spec: { namespace: "default", functionref: { type: "name", name: "hello" }, ...spec },
    });
  const OF_CONFIG_MAPS = { apiVersion: "v1", kind: "ConfigMap" };
  const subscribed = (name: string) =>
    eventually(
      () => get(name),
      (one) => condition(one, "Subscribed")?.status === "True",
    );
  const put = (name: string, data: Record<string, string>, labels: Record<string, string> = {}) =>
    kube.client.create(CONFIG_MAPS, { metadata: { namespace: "default", name, labels }, data });
  const change = (name: string, body: object) =>
    kube.client.patch(CONFIG_MAPS, { namespace: "default", name }, body);
  const remove = (name: string) => kube.client.delete(CONFIG_MAPS, { namespace: "default", name });
  /** `ADDED a`, in the order in which they were accepted. */
  const told = async (): Promise<string[]> =>
    (await queue.accepted()).map(
      ({ event }) =>
        `${event.headers["x-kubernetes-event-type"] ?? ""} ${JSON.parse(event.body).metadata.name}`,
    );
  const toldIs = (expected: string[]) =>
    eventually(told, (all) => all.length >= expected.length).then((all) => expect(all).toEqual(expected));

  test("changes come in order, with the object; what was there before the trigger does not", async () => {
    await put("before", {});
    replica();
    await create("maps", OF_CONFIG_MAPS);
    await subscribed("maps");
    await put("a", { n: "1" });
    await change("a", { data: { n: "2" } });
    await change("before", { data: { n: "1" } });
    await remove("a");
    await toldIs(["ADDED a", "MODIFIED a", "MODIFIED before", "DELETED a"]);
    const [, modified] = await queue.accepted();
    expect(modified?.event.headers).toMatchObject({
      "x-kubernetes-event-type": "MODIFIED",
      "x-kubernetes-object-type": "ConfigMap",
      "content-type": "application/json",
      "ce-type": "dev.isotope.kubernetes.modified",
      "ce-subject": "configmaps/a",
    });
    expect(JSON.parse(modified?.event.body ?? "")).toMatchObject({
      apiVersion: "v1",
      kind: "ConfigMap",
      data: { n: "2" },
    });
    expect(condition(await get("maps"), "Ready")).toMatchObject({
      status: "False",
      reason: "FunctionNotFound",
    });
  });

  test("selectors, event types and fields choose; existing objects come on request", async () => {
    await put("old", { n: "1" }, { tier: "web" });
    replica();
    await create("chosen", {
      ...OF_CONFIG_MAPS,
      labelselector: { tier: "web" },
      selector: "!hidden",
      events: ["ADDED", "MODIFIED"],
      fields: ["data.n"],
      includeExisting: true,
    });
    await subscribed("chosen");
    await put("other", { n: "1" }, { tier: "db" });
    await put("hidden", { n: "1" }, { tier: "web", hidden: "yes" });
    await put("b", { n: "1" }, { tier: "web" });
    await change("b", { data: { m: "nothing of interest" } });
    await change("b", { data: { n: "2" } });
    await remove("b");
    await put("last", { n: "1" }, { tier: "web" });
    await toldIs(["ADDED old", "ADDED b", "MODIFIED b", "ADDED last"]);
  });

  test("after a restart: nothing is replayed and nothing is missing, two replicas or one", async () => {
    await put("x", {});
    const [first, second] = [replica(), replica()];
    await create("restarted", OF_CONFIG_MAPS);
    await subscribed("restarted");
    await put("a", {});
    await toldIs(["ADDED a"]);
    await Promise.all([first.stop(), second.stop()]);
    await put("b", {});
    await change("x", { data: { n: "1" } });
    await remove("a");
    replica();
    replica();
    await put("c", {});
    await toldIs(["ADDED a", "ADDED b", "MODIFIED x", "DELETED a", "ADDED c"]);
    expect(await queue.offered()).toBe(5);
    const { status } = await eventually(
      () => get("restarted"),
      ({ status }) => status?.lastEventTime !== undefined && status.accepted !== 1 && status.lag === 0,
    );
    expect(status?.connected).toBe(true);
  });

  test("replicas follow equal shares, and whoever is left follows all, without a gap or a repetition", async () => {
    const names = ["w1", "w2", "w3", "w4"];
    /** Which replica told of which map for which trigger. */
    const tellers = new Map<string, string>();
    let twice = 0;
    const named = (name: string) =>
      replica({
        name,
        accept: async (acceptance) => {
          const { metadata } = JSON.parse(Buffer.from(acceptance.event.body).toString()) as {
            metadata: { name: string };
          };
          const key = `${metadata.name} ${acceptance.source}`;
          if (tellers.has(key)) twice++;
          tellers.set(key, name);
          return queue.accept(acceptance);
        },
      });
    let maps = 0;
    /** How many triggers each replica follows: from one more change, which all must be told of. */
    const shares = async (): Promise<number[]> => {
      const map = `map-${maps++}`;
      await put(map, {});
      const tellersOf = () => names.flatMap((name) => tellers.get(`${map} watch/${name}`) ?? []);
      await eventually(
        () => Promise.resolve(tellersOf()),
        (all) => all.length === names.length,
      );
      const counts = Map.groupBy(tellersOf(), (teller) => teller);
      return [...counts.values()].map(({ length }) => length).toSorted((a, b) => a - b);
    };
    const settles = (expected: number[]) => eventually(shares, (found) => found.join() === expected.join());
    const first = named("first");
    for (const name of names) await create(name, OF_CONFIG_MAPS);
    for (const name of names) await subscribed(name);
    await settles([4]);
    const second = named("second");
    await settles([2, 2]);
    const third = named("third");
    await settles([1, 1, 2]);
    await Promise.all([first.stop(), third.stop()]);
    await settles([4]);
    await second.stop();
    expect(tellers.size).toBe(names.length * maps);
    expect(twice).toBe(0);
  });

  test("the server does not know the version any more: the difference is told", async () => {
    await put("x", {});
    await put("gone", { n: "1" });
    const first = replica();
    await create("expired", OF_CONFIG_MAPS);
    await subscribed("expired");
    await put("a", {});
    await toldIs(["ADDED a"]);
    await first.stop();
    await change("x", { data: { n: "1" } });
    await put("b", {});
    await remove("gone");
    await put("c", {});
    let expired = 0;
    const client: typeof kube.client = {
      ...kube.client,
      // As a server that has forgotten its changes since; its own memory is long.
      watch: (type, options) =>
        type.kind === "ConfigMap" && expired++ === 0
          ? Promise.reject(new KubeError(410, "Expired", "too old resource version"))
          : kube.client.watch(type, options),
    };
    replica({ client });
    await eventually(told, (all) => all.length >= 5);
    const all = await told();
    expect(all.toSorted()).toEqual(["ADDED a", "ADDED b", "ADDED c", "DELETED gone", "MODIFIED x"]);
    const gone = (await queue.accepted()).find(
      ({ event }) => event.headers["x-kubernetes-event-type"] === "DELETED",
    );
    // Nobody has seen it go: its name is all that is known.
    expect(JSON.parse(gone?.event.body ?? "")).toEqual({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        namespace: "default",
        name: "gone",
        uid: expect.any(String) as string,
        resourceVersion: expect.any(String) as string,
      },
    });
    await put("d", {});
    await eventually(told, (now) => now.at(-1) === "ADDED d");
  });

  test("what cannot be accepted now is told later, before what came after it", async () => {
    const { PlatformError } = await import("../../../api/errors.ts");
    let refusals = 0;
    replica({
      accept: (acceptance) =>
        ++refusals % 2 === 1
          ? Promise.reject(new PlatformError("redis_unavailable"))
          : queue.accept(acceptance),
    });
    await create("refused", OF_CONFIG_MAPS);
    await subscribed("refused");
    const names = ["a", "b", "c", "d"];
    for (const name of names) await put(name, {});
    await toldIs(names.map((name) => `ADDED ${name}`));
  });

  test.each([
    [
      "unknown type",
      { type: "CAT" },
      "UnknownKind",
      'spec.type must be one of POD, SERVICE, REPLICATIONCONTROLLER, JOB, got "CAT"',
    ],
    ["unknown kind", { apiVersion: "v1", kind: "Cat" }, "UnknownKind", '"v1" has no kind "Cat" here'],
    ["cluster", { apiVersion: "v1", kind: "Namespace" }, "UnknownKind", "lies in no namespace"],
    [
      "path that is none",
      { type: "POD", fields: ["status.phase", "spec..containers["] },
      "InvalidSpec",
      'spec.fields must be paths such as "status.phase"',
    ],
    [
      "selector that is none",
      { type: "POD", selector: "tier in (" },
      "InvalidSpec",
      'the API server refuses the label selector "tier in ("',
    ],
    [
      "other namespace",
      { type: "POD", namespace: "other" },
      "InvalidSpec",
      'must be the trigger\'s own, "default", got "other"',
    ],
  ])("%s is refused", async (_what, spec, reason, message) => {
    replica();
    await create("refused", spec);
    const found = await eventually(
      () => get("refused"),
      (one) => condition(one, "Ready") !== undefined,
    );
    expect(found.status).toMatchObject({
      connected: false,
      lastError: expect.stringContaining(message) as string,
    });
    expect(condition(found, "Subscribed")).toMatchObject({
      status: "False",
      reason,
      message: expect.stringContaining(message) as string,
    });
  });

  test("a service account that may not see the objects is told nothing, and nothing of it later", async () => {
    let allowed = false;
    // The far side: an API server with roles, which the local one has not.
    const client: typeof kube.client = {
      ...kube.client,
      request: (request) =>
        request.path.endsWith("/subjectaccessreviews")
          ? Promise.resolve({ status: { allowed, user: request.body } })
          : kube.client.request(request),
    };
    replica({ client });
    await create("denied", { ...OF_CONFIG_MAPS, serviceAccount: "reader" });
    const denied = await eventually(
      () => get("denied"),
      (one) => condition(one, "Ready") !== undefined,
    );
    expect(condition(denied, "Ready")).toMatchObject({
      status: "False",
      reason: "AccessDenied",
      message: expect.stringContaining('"reader" of namespace "default" may not get configmaps') as string,
    });
    await put("secret", {});
    allowed = true;
    await subscribed("denied");
    await put("open", {});
    await toldIs(["ADDED open"]);
  });

  test("access that is withdrawn while the objects are followed ends that; what happens until it is granted again is never told", async () => {
    let allowed = true;
    const asked = new Set<string>();
    const client: typeof kube.client = {
      ...kube.client,
      request: (request) => {
        if (!request.path.endsWith("/subjectaccessreviews")) return kube.client.request(request);
        const { spec } = request.body as { spec: { user: string } };
        asked.add(spec.user);
        return Promise.resolve({ status: { allowed } });
      },
    };
    replica({ client, limits: { roundMs: 100, leaseMs: 15_000, reviewMs: 100 } });
    await create("withdrawn", OF_CONFIG_MAPS);
    await subscribed("withdrawn");
    await put("a", {});
    await toldIs(["ADDED a"]);
    allowed = false;
    const denied = await eventually(
      () => get("withdrawn"),
      (one) => condition(one, "Ready")?.reason === "AccessDenied" && one.status?.connected === false,
    );
    expect(denied.status?.lastError).toContain('"default" of namespace "default" may not get configmaps');
    await put("b", {});
    await remove("a");
    allowed = true;
    await subscribed("withdrawn");
    await put("c", {});
    await toldIs(["ADDED a", "ADDED c"]);
    // No account was named: that of the namespace is asked for, never the platform's own.
    expect([...asked]).toEqual(["system:serviceaccount:default:default"]);
  });

  test("a service account of another namespace cannot be named", async () => {
    const asked = new Set<string>();
    const client: typeof kube.client = {
      ...kube.client,
      request: (request) => {
        if (!request.path.endsWith("/subjectaccessreviews")) return kube.client.request(request);
        const { spec } = request.body as { spec: { user: string } };
        asked.add(spec.user);
        // As an API server that knows of no such account.
        return Promise.resolve({ status: { allowed: spec.user === "system:serviceaccount:other:admin" } });
      },
    };
    replica({ client });
    for (const [name, serviceAccount] of [
      ["slash", "other/admin"],
      ["colon", "other:admin"],
      ["user", "system:serviceaccount:other:admin"],
    ] as const) {
      await create(name, { ...OF_CONFIG_MAPS, serviceAccount });
      await eventually(
        () => get(name),
        (one) => condition(one, "Ready")?.reason === "AccessDenied",
      );
    }
    expect([...asked].every((user) => user.startsWith("system:serviceaccount:default:"))).toBe(true);
  });

  test("the list grows old between two of its pages: it begins anew, and each change is told once", async () => {
    const first = replica();
    await create("paged", OF_CONFIG_MAPS);
    await subscribed("paged");
    await put("a", {});
    await toldIs(["ADDED a"]);
    await first.stop();
    for (const name of ["b", "c", "d", "e"]) await put(name, {});
    await remove("a");
    let lists = 0;
    const client: typeof kube.client = {
      ...kube.client,
      watch: (type, options) =>
        type.kind === "ConfigMap" && lists === 0
          ? Promise.reject(new KubeError(410, "Expired", "too old resource version"))
          : kube.client.watch(type, options),
      list: async (type, options) => {
        if (type.kind !== "ConfigMap") return kube.client.list(type, options);
        lists++;
        // The far side: pages of two, and a server that has compacted before the second one of the first list.
        if (lists === 2) throw new KubeError(410, "Expired", "The provided continue parameter is too old");
        return kube.client.list(type, { ...options, limit: 2 });
      },
    };
    replica({ client });
    await eventually(told, (all) => all.length >= 6);
    expect((await told()).toSorted()).toEqual([
      "ADDED a",
      "ADDED b",
      "ADDED c",
      "ADDED d",
      "ADDED e",
      "DELETED a",
    ]);
    expect(lists).toBeGreaterThan(3);
  });

  test("5,000 objects that are there already: only what has changed is told, after a list and by the watch", async () => {
    let count = 5_000;
    const data = (at: number, n: string) => ({
      metadata: { namespace: "default", name: `many-${at}`, uid: `uid-${at}`, resourceVersion: n },
      data: { n },
    });
    let expired = false;
    let deepest = 0;
    let under = 0;
    // The far side: an API server with many objects, in pages, of which every thousandth changes while nobody looks.
    const client: typeof kube.client = {
      ...kube.client,
      list: async (type, options) => {
        if (type.kind !== "ConfigMap") return kube.client.list(type, options);
        const from = Number(options?.continue || 0);
        const until = Math.min(from + (options?.limit ?? count), count);
        const items = Array.from({ length: until - from }, (_, index) => {
          const at = from + index;
          return data(at, expired && at % 1_000 === 0 ? String(10_000 + at) : String(1 + at));
        });
        const page = {
          items,
          resourceVersion: expired ? "20000" : "9000",
          continue: until < count ? String(until) : "",
        };
        return page as never;
      },
      watch: (type, options) => {
        if (type.kind !== "ConfigMap") return kube.client.watch(type, options);
        if (options.resourceVersion === "9000" && expired)
          return Promise.reject(new KubeError(410, "Expired", "too old resource version"));
        options.onOpen?.();
        return new Promise((resolve) =>
          options.signal?.addEventListener("abort", () => resolve(undefined as never)),
        );
      },
    };
    const accept: RecordedCalls["accept"] = async (acceptance) => {
      deepest = Math.max(deepest, ++under);
      try {
        return await queue.accept(acceptance);
      } finally {
        under--;
      }
    };
    const first = replica({ client, accept });
    await create("many", OF_CONFIG_MAPS);
    await subscribed("many");
    await first.stop();
    expect(await queue.offered()).toBe(0);
    expired = true;
    const second = replica({ client, accept });
    await toldIs(Array.from({ length: 5 }, (_, at) => `MODIFIED many-${at * 1_000}`));
    expect(await queue.offered()).toBe(5);
    await second.stop();
    // Where all are to be told of, one is offered after the other.
    count = 1_000;
    replica({ client, accept });
    await create("all", { ...OF_CONFIG_MAPS, includeExisting: true });
    await eventually(queue.offered, (offered) => offered >= 5 + count);
    const { status } = await eventually(
      () => get("all"),
      (one) => one.status?.accepted === count && one.status.lag === 0,
    );
    expect(status?.connected).toBe(true);
    expect(new Set((await told()).slice(5)).size).toBe(count);
    expect(deepest).toBe(1);
  });

  test("pods by their short name", async () => {
    replica();
    await create("pods", { type: "pod" });
    await subscribed("pods");
    await kube.client.create(PODS, {
      metadata: { namespace: "default", name: "one" },
      spec: { containers: [{ name: "main", image: "none" }] },
    } as never);
    await eventually(told, (all) => all.includes("ADDED one"));
  });
});
