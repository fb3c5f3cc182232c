import { afterEach, beforeEach, expect, test } from "vitest";
import type { KubeClient } from "../../kube/client.ts";
import { CONFIG_MAPS, type ConfigMap } from "../../kube/core.ts";
import { createInformer, type Informer, type InformerOptions } from "../../kube/informer.ts";
import { clientOf, ScriptedApi } from "./far-side.ts";

let api: ScriptedApi;
let client: KubeClient;
let informer: Informer<ConfigMap> | undefined;
let seen: string[];

beforeEach(async () => {
  api = new ScriptedApi();
  seen = [];
  await api.start();
  client = clientOf(api);
});
afterEach(async () => {
  await informer?.stop();
  await client.close();
  await api.kill();
});

function watch(options: Partial<InformerOptions<ConfigMap>> = {}): Informer<ConfigMap> {
  informer = createInformer({ client, type: CONFIG_MAPS, backoff: { baseMs: 5, maxMs: 40 }, ...options });
  informer.subscribe({ onChange: ({ type, key }) => void seen.push(`${type} ${key}`) });
  informer.start();
  return informer;
}
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 3_000 && !condition(); tries++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
}
/** The informer's copy equals the server's state. */
const inStep = () =>
  until(
    () =>
      informer
        ?.list()
        .map(({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`)
        .sort()
        .join() ===
      [...api.items.values()]
        .map(({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`)
        .sort()
        .join(),
  );

test("lists in pages, then follows; handlers that come later see what is there", async () => {
  for (let index = 0; index < 25; index++) api.put(`c${index}`);
  const running = watch({ pageSize: 10 });
  await running.synced;
  expect(running.size).toBe(25);
  expect(api.lists).toBe(3);
  await until(() => api.watches.length === 1);
  seen.length = 0;
  api.put("new");
  api.put("c1");
  api.remove("c2");
  await inStep();
  expect(seen).toEqual(["add n/new", "update n/c1", "delete n/c2"]);
  const late: string[] = [];
  running.subscribe({ onAdd: ({ metadata }) => void late.push(metadata.name) });
  expect(late.length).toBe(25);
  await until(() => running.stalenessMs() === 0);
});

test("a list whose pages expire half-way is read again in one piece", async () => {
  for (let index = 0; index < 25; index++) api.put(`c${index}`);
  api.expirePages = true;
  const running = watch({ pageSize: 10 });
  await running.synced;
  expect(running.size).toBe(25);
});

test.each([
  ["a watch that ends", { kind: "end" }],
  ["a reset connection", { kind: "reset" }],
  ["a refused watch", { kind: "status", code: 500, reason: "InternalError" }],
  ["a throttled watch", { kind: "status", code: 429, reason: "TooManyRequests" }],
  ["a forbidden watch", { kind: "status", code: 403, reason: "Forbidden" }],
] as const)("survives %s and resumes from the last version without a new list", async (_name, script) => {
  api.put("a");
  api.scripts = [script, script, script];
  const running = watch();
  await running.synced;
  api.put("b");
  await inStep();
  expect(api.lists).toBe(1);
  expect(seen).toEqual(["add n/a", "add n/b"]);
});

test.each([
  ["410 as a reply", { kind: "status", code: 410, reason: "Expired" }],
  ["410 in the stream", { kind: "error-event", code: 410 }],
] as const)("%s leads to a new list, told as differences", async (_name, script) => {
  api.put("a");
  api.put("b");
  const running = watch();
  await running.synced;
  await until(() => api.watches.length === 1);
  seen.length = 0;
  api.scripts = [script];
  await api.kill();
  api.remove("a");
  api.put("b");
  api.put("c");
  await api.start();
  await inStep();
  expect(api.lists).toBe(2);
  expect(seen.toSorted()).toEqual(["add n/c", "delete n/a", "update n/b"]);
});

test("a dead server is waited for, however long; staleness tells; an object made anew is a delete and an add", async () => {
  api.put("a");
  const running = watch();
  await running.synced;
  await until(() => api.watches.length === 1);
  await api.kill();
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(running.stalenessMs()).toBeGreaterThan(50);
  expect(running.list().length).toBe(1);
  api.remove("a");
  api.put("a", "another-uid");
  api.forgetHistory();
  seen.length = 0;
  await api.start();
  await inStep();
  expect(seen).toEqual(["delete n/a", "add n/a"]);
  await until(() => running.stalenessMs() === 0);
});

test("a server that lost its state (its versions start anew) leaves no ghosts", async () => {
  api.put("ghost");
  const running = watch();
  await running.synced;
  await until(() => api.watches.length === 1);
  await api.kill();
  api.wipe();
  await api.start();
  await inStep();
  expect(running.list()).toEqual([]);
});

test("a silent connection counts as dead", async () => {
  api.put("a");
  api.scripts = [{ kind: "silent" }];
  const running = watch({ silenceMs: 100 });
  await running.synced;
  api.put("b");
  await inStep();
  expect(api.watches.length).toBeGreaterThan(1);
});

test("a server that is not there at the start is waited for", async () => {
  await api.kill();
  const errors: unknown[] = [];
  const running = watch({ onError: (error) => void errors.push(error) });
  await until(() => errors.length > 3);
  expect(running.hasSynced()).toBe(false);
  api.put("a");
  await api.start();
  await running.synced;
  expect(running.hasSynced()).toBe(true);
});

test("a handler that throws disturbs nobody; after stop nothing is told", async () => {
  const errors: unknown[] = [];
  const running = watch({ onError: (error) => void errors.push(error) });
  running.subscribe({
    onAdd: () => {
      throw new Error("handler");
    },
  });
  await running.synced;
  await until(() => api.watches.length === 1);
  api.put("a");
  await inStep();
  expect(errors).toEqual([new Error("handler")]);
  await running.stop();
  seen.length = 0;
  api.put("b");
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(seen).toEqual([]);
});

test("random deaths: the copy always catches up, and its events add up to it", async () => {
  const running = watch({ backoff: { baseMs: 1, maxMs: 5 } });
  const names = new Set<string>();
  running.subscribe({
    onAdd: ({ metadata }) => {
      expect(names.has(metadata.name)).toBe(false);
      names.add(metadata.name);
    },
    onDelete: ({ metadata }) => expect(names.delete(metadata.name)).toBe(true),
  });
  let random = 7;
  const next = (limit: number) => (random = (random * 48_271) % 2_147_483_647) % limit;
  for (let round = 0; round < 25; round++) {
    for (let count = 0; count < 20; count++) {
      const name = `c${next(12)}`;
      if (next(3) === 0) api.remove(name);
      else api.put(name, `uid-${name}-${next(2)}`);
    }
    if (next(3) === 0) await api.kill();
    if (next(3) === 0) api.forgetHistory();
    if (next(4) === 0) api.scripts.push({ kind: "reset" });
    await new Promise((resolve) => setTimeout(resolve, next(8)));
    await api.kill();
    await api.start();
  }
  await inStep();
  expect([...names].sort()).toEqual([...api.items.keys()].sort());
});
