import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Answer } from "./ask-container.ts";
import type { ProbeSpec } from "./pod.ts";
import { type ProbeResult, startProbe } from "./probe.ts";

const good: Answer = { ok: true };
const bad: Answer = { ok: false, message: "no" };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function probe(spec: ProbeSpec, eager: boolean, answer: () => Answer) {
  const results: ProbeResult["state"][] = [];
  const failed: string[] = [];
  let asked = 0;
  const stop = startProbe({
    spec,
    eager,
    ask: () => {
      asked += 1;
      return Promise.resolve(answer());
    },
    onResult: ({ state }) => results.push(state),
    onFailedAsk: (message) => failed.push(message),
  });
  return { results, failed, stop, asked: () => asked };
}

describe("probe", () => {
  it("asks at once and in quick steps until the first success", async () => {
    let up = false;
    const { results, failed, asked, stop } = probe({ periodSeconds: 10 }, true, () => (up ? good : bad));
    await vi.advanceTimersByTimeAsync(100);
    expect(asked()).toBeGreaterThan(8);
    up = true;
    await vi.advanceTimersByTimeAsync(15);
    expect(results).toEqual(["success"]);
    expect(failed).toEqual([]);
    const before = asked();
    await vi.advanceTimersByTimeAsync(9_000);
    expect(asked() - before).toBeLessThanOrEqual(1);
    stop();
  });

  it("counts failures once a period and reports each from the threshold on", async () => {
    const { results, failed, stop } = probe({ periodSeconds: 1, failureThreshold: 3 }, true, () => bad);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(results).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(results).toEqual(["failure"]);
    expect(failed).toHaveLength(3);
    stop();
  });

  it("goes from failure back to success after successThreshold good answers", async () => {
    let answer: Answer = bad;
    const spec = { periodSeconds: 1, failureThreshold: 1, successThreshold: 2 };
    const { results, stop } = probe(spec, false, () => answer);
    await vi.advanceTimersByTimeAsync(100);
    expect(results).toEqual(["failure"]);
    answer = good;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(results).toEqual(["failure"]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(results).toEqual(["failure", "success"]);
    stop();
  });

  it("waits for initialDelaySeconds and is silent after stop", async () => {
    const { asked, stop } = probe({ initialDelaySeconds: 5, periodSeconds: 1 }, true, () => bad);
    await vi.advanceTimersByTimeAsync(4_900);
    expect(asked()).toBe(0);
    await vi.advanceTimersByTimeAsync(200);
    expect(asked()).toBe(1);
    stop();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(asked()).toBe(1);
  });
});
