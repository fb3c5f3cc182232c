import { describe, expect, it } from "vitest";
import type { Release, ReleaseSideView } from "../../api/wire/releases.ts";
import { progressOf, renderRelease, span } from "./release-view.ts";
import { sparkline } from "./sparkline.ts";

const NOW = Date.parse("2026-05-04T10:01:40Z");
const seconds = (p95s: readonly (number | undefined)[]): ReleaseSideView["seconds"] =>
  p95s.map((p95Ms, at) => ({
    at: new Date(NOW - at * 1000).toISOString(),
    requests: p95Ms === undefined ? 0 : 10,
    errors: 0,
    ...(p95Ms === undefined ? {} : { p95Ms }),
  }));

const release = (change: Partial<Release> = {}): Release => ({
  namespace: "default",
  name: "hello",
  mode: "alias",
  trigger: "hello",
  alias: "hello-live",
  phase: "progressing",
  status: "pending",
  dryRun: false,
  applied: true,
  step: 1,
  steps: [5, 25, 50].map((weight) => ({ weight, durationMs: 120_000, pause: false })),
  startedAt: "2026-05-04T10:00:00Z",
  stepStartedAt: "2026-05-04T10:01:00Z",
  old: {
    name: "hello-v1",
    function: "hello",
    uid: "1",
    revision: "a",
    weight: 75,
    requests: 12_040,
    errors: 0,
    clientErrors: 0,
    perSecond: 41.2,
    p50Ms: 4.21,
    p95Ms: 9.4,
    seconds: seconds([8, 9, undefined, 10]),
  },
  new: {
    name: "hello-v2",
    function: "hello",
    uid: "1",
    revision: "b",
    weight: 25,
    requests: 398,
    errors: 12,
    clientErrors: 0,
    perSecond: 3.14,
    p50Ms: 4.5,
    p95Ms: 1204,
    seconds: seconds([10, 80, 40, 20]),
  },
  sentence: "hello-v2 fails 3.0 % of its requests, hello-v1 0.0 %: 12 of 398 against 0 of 12,040",
  decisions: [],
  ...change,
});
const plain = { width: 80, colour: false, nowMs: NOW };

describe("a sparkline", () => {
  it("shows the newest values, a blank for a gap and the highest bar for the top", () => {
    expect(sparkline([9, 0, undefined, 4, 8], { width: 4, top: 8 })).toBe("▁ ▅█");
    expect(sparkline([1], { width: 3, top: 0 })).toBe("▁");
  });
});

describe("the view of a release", () => {
  it("puts both versions side by side", () => {
    const lines = renderRelease(release(), plain);
    expect(lines).toEqual([
      "hello  progressing  step 2 of 3, 40s of 2m",
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

  it.each([30, 44, 60, 80, 200])("never gets wider than %d characters, whatever is in it", (width) => {
    const long = release({
      sentence: `${"word ".repeat(60)}${"x".repeat(90)}`,
      name: "n".repeat(63),
      old: { ...release().old, name: "o".repeat(63), requests: 123_456_789 },
    });
    // oxlint-disable-next-line no-control-regex -- colours take no room
    const escapes = /\u001b\[\d+m/g;
    for (const colour of [false, true])
      for (const line of renderRelease(long, { ...plain, colour, width }))
        expect(line.replaceAll(escapes, "").length).toBeLessThanOrEqual(width);
  });

  it("says where nothing has happened yet", () => {
    const { p50Ms: _p50, p95Ms: _p95, ...side } = release().old;
    const idle = { ...side, requests: 0, errors: 0, perSecond: 0, seconds: [] };
    const text = renderRelease(release({ sentence: "", old: idle, new: idle }), plain).join("\n");
    expect(text).toContain("– / –");
    expect(text).toContain("No verdict yet");
    expect(text).not.toContain("NaN");
  });

  it("colours only when told", () => {
    const text = renderRelease(release(), { ...plain, colour: true }).join("\n");
    expect(text).toContain("\u001b[31m12  (3.0 %)");
  });
});

describe("the progress of a release", () => {
  it("is its step and how long that has lasted", () => {
    expect(progressOf(release(), NOW)).toBe("step 2 of 3, 40s of 2m");
    expect(progressOf(release({ step: 3 }), NOW)).toBe("after the last step, 40s");
    const steps = [{ weight: 5, durationMs: 0, pause: true }];
    expect(progressOf(release({ step: 0, steps, phase: "paused" }), NOW)).toBe(
      "step 1 of 1, 40s, waits for `release resume`",
    );
  });

  it("is how long it took once it has ended", () => {
    expect(progressOf(release({ phase: "failed", finishedAt: "2026-05-04T10:01:20Z" }), NOW)).toBe(
      "after 1m 20s",
    );
  });

  it.each([
    [400, "0s"],
    [59_400, "59s"],
    [60_000, "1m"],
    [3_700_000, "1h 1m"],
  ])("%d ms are %s", (given, text) => expect(span(given)).toBe(text));
});
