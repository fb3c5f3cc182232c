import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type RouterCounters, routerCounters } from "../../controller/canary/router-counters.ts";
import { keyRing } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { type FakeRouter, startFakeRouter } from "./fake-router.ts";

/** Several routers behind one name, as behind a headless Service. */
const keys = keyRing(["router-counters-test-key-0123456789-0123456789"]);
const side = { uid: "u", revision: "r" };
const silent = processLog("test", { write: () => undefined });
/** Longer than any test: nothing here may wait for it. */
const NEVER_MS = 600_000;
let routers: FakeRouter[] = [];
let addresses: string[] = [];
let counters: RouterCounters;

async function start(host: string): Promise<FakeRouter> {
  const router = await startFakeRouter(keys, { host, port: routers[0]?.port ?? 0 });
  routers.push(router);
  addresses.push(host);
  return router;
}
const reader = (timeoutMs: number): RouterCounters =>
  routerCounters({
    keys,
    peers: `http://routers.test:${routers[0]?.port}`,
    log: silent,
    timeoutMs,
    addressesOf: async () => addresses.map((address) => ({ address, family: 4 })),
  });
/** Requests by router, in the order of the addresses. */
const read = async (): Promise<number[]> =>
  (await counters.read(["u"])).map(({ revisions }) => revisions[0]?.requests ?? 0);

beforeEach(async () => {
  for (const host of ["127.0.0.1", "127.0.0.2"]) await start(host);
  counters = reader(NEVER_MS);
});
afterEach(async () => {
  await Promise.all(routers.map((router) => router.stop()));
  await counters.close();
  routers = [];
  addresses = [];
});

test("every address is read, also of a router that came since, and none of one that went", async () => {
  routers[0]?.serve(side, 5);
  routers[1]?.serve(side, 7);
  expect(await read()).toEqual([5, 7]);
  const third = await start("127.0.0.3");
  third.serve(side, 11);
  expect(await read()).toEqual([5, 7, 11]);
  addresses.shift();
  await routers[0]?.stop();
  expect(await read()).toEqual([7, 11]);
});

test("an address where nobody listens keeps nobody from being read", async () => {
  routers[0]?.serve(side, 5);
  addresses.push("127.0.0.9");
  expect(await read()).toEqual([5, 0]);
  expect(await read()).toEqual([5, 0]);
});

test("a reading waits for a router no longer than it may", async () => {
  await counters.close();
  counters = reader(5_000);
  routers[0]?.serve(side, 5);
  routers[1]?.hang(true);
  expect(await read()).toEqual([5]);
});

test("a router that did not answer holds up no further reading, and is in them again when it answers", async () => {
  await routers[1]?.stop();
  expect(await read()).toEqual([0]);
  const again = await startFakeRouter(keys, { host: "127.0.0.2", port: routers[0]?.port ?? 0 });
  routers.push(again);
  again.hang(true);
  // One that accepts and says nothing.
  for (let at = 0; at < 3; at++) expect(await read()).toEqual([0]);
  again.serve(side, 3);
  again.hang(false);
  await vi.waitFor(async () => expect(await read()).toEqual([0, 3]), { timeout: 30_000 });
});

test("a name that cannot be looked up gives no counters", async () => {
  await counters.close();
  counters = routerCounters({
    keys,
    peers: "http://routers.test:1",
    log: silent,
    addressesOf: () => Promise.reject(new Error("getaddrinfo ENOTFOUND")),
  });
  expect(await counters.read(["u"])).toEqual([]);
});
