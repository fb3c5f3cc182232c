import { describe, expect, it } from "vitest";
import { type ReleaseView, renderRelease } from "./release-view.ts";
import { sparkline } from "./sparkline.ts";

const view = (change: Partial<ReleaseView> = {}): ReleaseView => ({
  name: "hello",
  phase: "progressing",
  progress: "step 2 of 3, for 40s",
  old: {
    name: "hello-v1",
    weight: 75,
    requests: 12_040,
    errors: 0,
    perSecond: 41.2,
    p50Ms: 4.21,
    p95Ms: 9.4,
    latencies: [8, 9, undefined, 10],
  },
  next: {
    name: "hello-v2",
    weight: 25,
    requests: 398,
    errors: 12,
    perSecond: 3.14,
    p50Ms: 4.5,
    p95Ms: 1204,
    latencies: [10, 80, 40, 20],
  },
  verdict: "hello-v2 fails 3.0 % of its requests, hello-v1 0.0 %: 12 of 398 against 0 of 12,040",
  ...change,
});

describe("a sparkline", () => {
  it("shows the newest values, a blank for a gap and the highest bar for the top", () => {
    expect(sparkline([9, 0, undefined, 4, 8], { width: 4, top: 8 })).toBe("▁ ▅█");
    expect(sparkline([1], { width: 3, top: 0 })).toBe("  ▁");
  });
});

describe("the view of a release", () => {
  it("puts both versions side by side", () => {
    const lines = renderRelease(view(), { width: 80, colour: false });
    expect(lines).toEqual([
      "hello  progressing  step 2 of 3, for 40s",
      "",
      "            hello-v1 (old)                   hello-v2 (new)",
      "  traffic   75 %                             25 %",
      "  requests  12,040  (41/s)                   398  (3.1/s)",
      "  errors    0  (0.0 %)                       12  (3.0 %)",
      "  p50 / p95 4.2 ms / 9.4 ms                  4.5 ms / 1.20 s",
      "  p95 by s  ▁▁ ▂                             ▂█▅▃",
      "",
      "  hello-v2 fails 3.0 % of its requests, hello-v1 0.0 %: 12 of 398 against 0 of",
      "  12,040",
    ]);
  });

  it.each([60, 80, 200])("never gets wider than %d characters", (width) => {
    for (const line of renderRelease(view({ verdict: "word ".repeat(60).trim() }), { width, colour: false }))
      expect(line.length).toBeLessThanOrEqual(width);
  });

  it("says where nothing has happened yet", () => {
    const nobody = {
      requests: 0,
      errors: 0,
      perSecond: 0,
      p50Ms: undefined,
      p95Ms: undefined,
      latencies: [],
    };
    const idle = view({
      verdict: "",
      old: { ...view().old, ...nobody },
      next: { ...view().next, ...nobody },
    });
    const text = renderRelease(idle, { width: 80, colour: false }).join("\n");
    expect(text).toContain("– / –");
    expect(text).toContain("No verdict yet");
    expect(text).not.toContain("NaN");
  });

  it("colours only when told", () => {
    expect(renderRelease(view(), { width: 80, colour: true }).join("\n")).toContain("\u001b[31m12  (3.0 %)");
  });
});
