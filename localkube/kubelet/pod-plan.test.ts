import { describe, expect, it } from "vitest";
import { type ContainerPhase, type PlannedContainer, planPod } from "./pod-plan.ts";

const NOW = 1_000_000;
const fresh: ContainerPhase = { is: "new" };
const running: ContainerPhase = { is: "running", startedAtMs: 0 };
const ended = (exitCode: number, retryAtMs = NOW): ContainerPhase => ({ is: "ended", exitCode, retryAtMs });
const one = (name: string, phase: ContainerPhase, sidecar = false, started = true): PlannedContainer => ({
  spec: { name, image: "x", ...(sidecar ? { restartPolicy: "Always" as const } : {}) },
  phase,
  started,
});

describe("what to do next with a pod", () => {
  it("starts all containers when there are no init containers", () => {
    expect(planPod("Always", [], [one("a", fresh), one("b", fresh)], NOW)).toEqual({
      start: ["a", "b"],
      initialized: true,
    });
  });

  it("runs init containers one after the other", () => {
    const main = [one("m", fresh)];
    expect(planPod("Always", [one("i", fresh), one("j", fresh)], main, NOW).start).toEqual(["i"]);
    expect(planPod("Always", [one("i", running), one("j", fresh)], main, NOW).start).toEqual([]);
    expect(planPod("Always", [one("i", ended(0)), one("j", fresh)], main, NOW).start).toEqual(["j"]);
    expect(planPod("Always", [one("i", ended(0)), one("j", ended(0))], main, NOW)).toEqual({
      start: ["m"],
      initialized: true,
    });
  });

  it("ends a pod that never restarts with a failed init container, and repeats it otherwise", () => {
    const main = [one("m", fresh)];
    expect(planPod("Never", [one("i", ended(1))], main, NOW)).toEqual({
      start: [],
      initialized: false,
      finished: "Failed",
    });
    expect(planPod("OnFailure", [one("i", ended(1, NOW + 5))], main, NOW)).toEqual({
      start: [],
      initialized: false,
      wakeAtMs: NOW + 5,
    });
  });

  it("waits for a sidecar to have started, not to end", () => {
    const main = [one("m", fresh)];
    expect(planPod("Always", [one("s", fresh, true)], main, NOW).start).toEqual(["s"]);
    expect(planPod("Always", [one("s", running, true, false)], main, NOW).start).toEqual([]);
    expect(planPod("Always", [one("s", running, true)], main, NOW).start).toEqual(["m"]);
  });

  it.each([
    ["Always", 0, { start: ["a"], initialized: true }],
    ["Always", 1, { start: ["a"], initialized: true }],
    ["OnFailure", 1, { start: ["a"], initialized: true }],
    ["OnFailure", 0, { start: [], initialized: true, finished: "Succeeded" }],
    ["Never", 0, { start: [], initialized: true, finished: "Succeeded" }],
    ["Never", 1, { start: [], initialized: true, finished: "Failed" }],
  ] as const)("with %s and exit code %d", (policy, exitCode, plan) => {
    expect(planPod(policy, [], [one("a", ended(exitCode))], NOW)).toEqual(plan);
  });

  it("is over only when every container is", () => {
    expect(planPod("Never", [], [one("a", ended(1)), one("b", running)], NOW).finished).toBeUndefined();
    expect(planPod("Never", [], [one("a", ended(0)), one("b", ended(2))], NOW).finished).toBe("Failed");
  });

  it("wakes for the earliest wait", () => {
    const waiting = (untilMs: number): ContainerPhase => ({
      is: "waiting",
      reason: "ErrImagePull",
      message: "",
      untilMs,
    });
    const plan = planPod(
      "Always",
      [],
      [one("a", waiting(NOW + 9)), one("b", ended(1, NOW + 4)), one("c", waiting(NOW))],
      NOW,
    );
    expect(plan).toEqual({ start: ["c"], initialized: true, wakeAtMs: NOW + 4 });
  });
});
