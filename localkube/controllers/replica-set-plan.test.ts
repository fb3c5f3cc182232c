import { describe, expect, it } from "vitest";
import type { Pod } from "../kubelet/pod.ts";
import { choosePodsToDelete, isActive, untilAvailableMs } from "./replica-set-plan.ts";

interface Traits {
  node?: string;
  phase?: "Pending" | "Running" | "Failed";
  readySince?: string;
  cost?: string;
  restarts?: number;
  created?: string;
  deleted?: boolean;
}

function pod(name: string, traits: Traits = {}): Pod {
  const {
    node = "local",
    phase = "Running",
    readySince,
    cost,
    restarts = 0,
    created = "2026-01-01T00:00:00Z",
  } = traits;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      uid: name,
      resourceVersion: "1",
      creationTimestamp: created,
      ...(cost === undefined ? {} : { annotations: { "controller.kubernetes.io/pod-deletion-cost": cost } }),
      ...(traits.deleted ? { deletionTimestamp: created } : {}),
    },
    spec: { containers: [], nodeName: node },
    status: {
      phase,
      conditions: [
        readySince === undefined
          ? { type: "Ready", status: "False" }
          : { type: "Ready", status: "True", lastTransitionTime: readySince },
      ],
      containerStatuses: [
        {
          name: "m",
          state: {},
          lastState: {},
          ready: false,
          started: true,
          restartCount: restarts,
          image: "",
          imageID: "",
        },
      ],
    },
  };
}

const T = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, "0")}Z`;

describe("which pods of a ReplicaSet go first", () => {
  it.each<[string, Traits, Traits]>([
    ["without a node", { node: "" }, {}],
    ["pending", { phase: "Pending" }, {}],
    ["not ready", {}, { readySince: T(1) }],
    ["cheaper to delete", { readySince: T(1), cost: "-5" }, { readySince: T(9) }],
    ["ready for a shorter time", { readySince: T(9) }, { readySince: T(1) }],
    ["restarted more often", { restarts: 3 }, { restarts: 1 }],
    ["younger", { created: T(9) }, { created: T(1) }],
  ])("%s", (_what, first, second) => {
    const pods = [pod("b", second), pod("a", first)];
    expect(choosePodsToDelete(pods, 1).map(({ metadata }) => metadata.name)).toEqual(["a"]);
    expect(choosePodsToDelete(pods.toReversed(), 1).map(({ metadata }) => metadata.name)).toEqual(["a"]);
  });
});

it("does not count pods that are over or going", () => {
  expect([pod("a"), pod("b", { phase: "Failed" }), pod("c", { deleted: true })].map(isActive)).toEqual([
    true,
    false,
    false,
  ]);
});

it("is available only after minReadySeconds", () => {
  const nowMs = Date.parse(T(10));
  expect(untilAvailableMs(pod("a"), 0, nowMs)).toBeUndefined();
  expect(untilAvailableMs(pod("a", { readySince: T(8) }), 0, nowMs)).toBe(0);
  expect(untilAvailableMs(pod("a", { readySince: T(8) }), 5, nowMs)).toBe(3000);
});
