import { describe, expect, it } from "vitest";
import { storeClock } from "./store-clock.ts";

describe("the store's clock", () => {
  const world = () => {
    let mono = 5_000;
    let store = 1_700_000_000_000.4;
    return {
      pass: (ms: number) => {
        mono += ms;
        store += ms;
      },
      set: (ms: number) => (store += ms),
      store: () => store,
      mono: () => mono,
      /** Asking takes this long each way. */
      journal: (there: () => number, back: () => number, pass: (ms: number) => void) => ({
        now: async () => {
          pass(there());
          const answer = Math.floor(store);
          pass(back());
          return answer;
        },
      }),
    };
  };

  it("is never behind, and ahead by no more than the quickest round trip", async () => {
    const { pass, store, mono, journal } = world();
    const trips = [40, 3, 25, 0.5, 60];
    let trip = 0;
    const clock = await storeClock(
      journal(
        () => trips[trip % 5] ?? 0,
        () => trips[(trip + 2) % 5] ?? 0,
        pass,
      ),
      mono,
    );
    for (trip = 1; trip < 30; trip++) {
      await clock.sync();
      pass(trip * 7.3);
      expect(clock.now()).toBeGreaterThanOrEqual(store());
      if (trip > 5) expect(clock.now()).toBeLessThanOrEqual(store() + 3 + 2);
    }
  });

  it("follows a store whose clock is set", async () => {
    const { pass, set, store, mono, journal } = world();
    const clock = await storeClock(
      journal(
        () => 1,
        () => 1,
        pass,
      ),
      mono,
    );
    for (const jump of [3_600_000, -300_000]) {
      set(jump);
      await clock.sync();
      expect(clock.now() - store()).toBeGreaterThanOrEqual(0);
      expect(clock.now() - store()).toBeLessThanOrEqual(4);
    }
  });
});
