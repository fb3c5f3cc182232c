import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Backlog, scaleUp, ServiceTime, slotsWorth } from "./scale-up.ts";

const RULE = { delayMs: 10, aboveMs: 100 };
const backlog = (given: Partial<Backlog>): Backlog => ({
  waiting: 1,
  waitedMs: 0,
  slots: 1,
  serviceMs: undefined,
  ...given,
});

describe("scaleUp", () => {
  test.each([
    ["no pod within reach", { waiting: 7, slots: 0, serviceMs: 1 }, { inMs: 0, requests: 7 }],
    ["no history", { waiting: 7 }, { inMs: 10, requests: 7 }],
    ["no history, waited already", { waiting: 7, waitedMs: 8 }, { inMs: 2, requests: 7 }],
    ["a slow function", { waiting: 3, slots: 10, serviceMs: 100 }, { inMs: 10, requests: 3 }],
    [
      "a slow function, waited already",
      { waiting: 3, waitedMs: 30, serviceMs: 100 },
      { inMs: 0, requests: 3 },
    ],
    ["400 for 100 slots of 9 ms", { waiting: 400, slots: 100, serviceMs: 9 }, { inMs: 136, requests: 1 }],
    [
      "the same, the first late",
      { waiting: 400, slots: 100, serviceMs: 9, waitedMs: 136 },
      { inMs: 0, requests: 1 },
    ],
    ["400 for 100 slots of 40 ms", { waiting: 400, slots: 100, serviceMs: 40 }, { inMs: 10, requests: 250 }],
    ["1 for 1 slot of 60 ms", { serviceMs: 60 }, { inMs: 10, requests: 1 }],
  ] as const)("%s", (_, given, expected) => {
    expect(scaleUp(backlog(given), RULE)).toEqual(expected);
  });

  const backlogs = fc.record({
    waiting: fc.integer({ min: 1, max: 100_000 }),
    waitedMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
    slots: fc.integer({ min: 0, max: 10_000 }),
    serviceMs: fc.option(fc.double({ min: 0, max: 1e7, noNaN: true }), { nil: undefined }),
  });
  const rules = fc.record({
    delayMs: fc.integer({ min: 0, max: 60_000 }),
    aboveMs: fc.integer({ min: 0, max: 60_000 }),
  });

  test("property: asks at some time, for one request at least and for no more than wait", () => {
    fc.assert(
      fc.property(backlogs, rules, (given, rule) => {
        const { inMs, requests } = scaleUp(given, rule);
        expect(inMs).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(inMs)).toBe(true);
        expect(Number.isInteger(requests)).toBe(true);
        expect(requests).toBeGreaterThanOrEqual(1);
        expect(requests).toBeLessThanOrEqual(given.waiting);
      }),
    );
  });

  test("property: not before the first has waited its due, while the pods should be in time for all", () => {
    fc.assert(
      fc.property(backlogs, rules, (given, rule) => {
        const { serviceMs, slots, waiting, waitedMs } = given;
        fc.pre(slots > 0 && serviceMs !== undefined && serviceMs <= rule.aboveMs);
        fc.pre((waiting * (serviceMs ?? 0)) / slots <= rule.aboveMs - (serviceMs ?? 0));
        if (waitedMs < rule.aboveMs) expect(scaleUp(given, rule).inMs).toBeGreaterThan(0);
      }),
    );
  });

  test("property: with as many slots as are worth it nothing is asked for soon, with fewer there is", () => {
    const cases = fc.record({
      concurrency: fc.integer({ min: 2, max: 10_000 }),
      serviceMs: fc.double({ min: 0.1, max: 99, noNaN: true }),
    });
    fc.assert(
      fc.property(cases, ({ concurrency, serviceMs }) => {
        const worth = slotsWorth(concurrency, serviceMs, RULE);
        expect(worth).toBeLessThanOrEqual(concurrency);
        const asks = (slots: number) => {
          const waiting = concurrency - slots;
          if (slots < 1 || waiting < 1) return undefined;
          return scaleUp(backlog({ waiting, slots, serviceMs }), RULE).inMs === RULE.delayMs;
        };
        expect(asks(Math.ceil(worth * 1.001))).not.toBe(true);
        expect(asks(Math.floor(worth * 0.999))).not.toBe(false);
      }),
    );
  });

  test("all requests of a slow or unknown function are worth a slot", () => {
    expect(slotsWorth(500, 100, RULE)).toBe(500);
    expect(slotsWorth(500, undefined, RULE)).toBe(500);
    expect(slotsWorth(500, 10, RULE)).toBe(50);
  });

  test("property: a longer queue, a longer wait or fewer slots never make it ask later", () => {
    fc.assert(
      fc.property(backlogs, rules, fc.nat({ max: 100 }), (given, rule, more) => {
        const wait = { ...given, waitedMs: given.waitedMs + more };
        expect(scaleUp(wait, rule).inMs).toBeLessThanOrEqual(scaleUp(given, rule).inMs);
        const worse = (other: Backlog) => {
          const [before, after] = [scaleUp(given, rule), scaleUp(other, rule)];
          // While both only guard against a wrong estimate, the one that expects a longer wait may wait longer.
          if (before.inMs > rule.delayMs && after.inMs > rule.delayMs) return;
          expect(after.inMs).toBeLessThanOrEqual(Math.max(before.inMs, rule.delayMs));
        };
        if (given.waitedMs < rule.aboveMs) {
          worse({ ...given, waiting: given.waiting + more });
          worse({ ...given, slots: Math.max(0, given.slots - more) });
        }
      }),
    );
  });
});

describe("ServiceTime", () => {
  test("says nothing of a few requests, then their mean", () => {
    const service = new ServiceTime();
    for (let i = 1; i < 10; i += 1) service.observe(i, i);
    expect(service.meanMs).toBeUndefined();
    service.observe(10, 10);
    expect(service.meanMs).toBeCloseTo(5.5);
  });

  test("follows a function that has become slow, at any rate of requests", () => {
    for (const everyMs of [0.1, 10, 1_000]) {
      const service = new ServiceTime();
      for (let i = 0; i < 20; i += 1) service.observe(5, i);
      for (let at = 100, n = 0; at < 5_000 || n < 40; at += everyMs, n += 1) service.observe(200, at);
      expect(service.meanMs).toBeGreaterThan(190);
    }
  });

  test("a pause of the machine, after which many requests end at once, changes little", () => {
    const service = new ServiceTime();
    let at = 0;
    for (; at < 2_000; at += 0.1) service.observe(9, at);
    at += 60;
    for (let i = 0; i < 100; i += 1) service.observe(69, at + i / 100);
    expect(service.meanMs).toBeLessThan(15);
  });

  test("property: the mean stays within what was observed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 100_000 }), fc.nat({ max: 5_000 })), { minLength: 10 }),
        (requests) => {
          const service = new ServiceTime();
          let at = 0;
          for (const [heldMs, passedMs] of requests) service.observe(heldMs, (at += passedMs));
          const held = requests.map(([heldMs]) => heldMs);
          expect(service.meanMs).toBeGreaterThanOrEqual(Math.min(...held) - 1e-6);
          expect(service.meanMs).toBeLessThanOrEqual(Math.max(...held) + 1e-6);
        },
      ),
    );
  });
});
