import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  beyondHistory,
  boundsOf,
  newSetSize,
  REVISION,
  sameTemplate,
  scaleInProportion,
  shrinkOldSets,
  templateHash,
  wanted,
  wantedTotal,
} from "./deployment-plan.ts";
import type { Deployment, ReplicaSet } from "./workload.ts";

const meta = (name: string, annotations: Record<string, string> = {}) => ({
  name,
  namespace: "d",
  uid: name,
  resourceVersion: "1",
  creationTimestamp: "2026-01-01T00:00:00Z",
  annotations,
});
const template = {
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "m", image: "a:1" }] },
};
const selector = { matchLabels: { app: "web" } };

function deployment(
  replicas: number,
  strategy: Deployment["spec"]["strategy"] = { type: "RollingUpdate" },
): Deployment {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: meta("web"),
    spec: { replicas, selector, template, strategy },
  };
}

function set(name: string, replicas: number, available: number, revision = 1): ReplicaSet {
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: meta(name, { [REVISION]: String(revision) }),
    spec: { replicas, selector, template },
    status: { replicas, availableReplicas: available, readyReplicas: available },
  };
}

describe("limits of a rolling update", () => {
  it.each([
    [4, "25%", "25%", { replicas: 4, surge: 1, unavailable: 1 }],
    [10, "25%", "25%", { replicas: 10, surge: 3, unavailable: 2 }],
    [1, "25%", "25%", { replicas: 1, surge: 1, unavailable: 0 }],
    [3, 0, 0, { replicas: 3, surge: 0, unavailable: 1 }],
    [3, 0, "10%", { replicas: 3, surge: 0, unavailable: 1 }],
    [2, 1, 5, { replicas: 2, surge: 1, unavailable: 2 }],
  ])("%d replicas, surge %s, unavailable %s", (replicas, maxSurge, maxUnavailable, bounds) => {
    const rolling = { type: "RollingUpdate" as const, rollingUpdate: { maxSurge, maxUnavailable } };
    expect(boundsOf(deployment(replicas, rolling))).toEqual(bounds);
  });
});

describe("rolling update", () => {
  it("keeps within surge and availability at every step, and ends", () => {
    const amount = fc.oneof(
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 0, max: 100 }).map((part) => `${part}%`),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 12 }),
        amount,
        amount,
        fc.array(fc.boolean(), { maxLength: 200 }),
        (replicas, maxSurge, maxUnavailable, luck) => {
          const target = deployment(replicas, {
            type: "RollingUpdate",
            rollingUpdate: { maxSurge, maxUnavailable },
          });
          const { surge, unavailable } = boundsOf(target);
          let old = set("old", replicas, replicas);
          let fresh = set("new", 0, 0, 2);
          const available = (one: ReplicaSet): number => one.status?.availableReplicas ?? 0;
          for (let step = 0; step < 400 && (wanted(old) > 0 || available(fresh) < replicas); step++) {
            const size = newSetSize(target, fresh, [old, fresh]);
            expect(wanted(old) + size).toBeLessThanOrEqual(replicas + surge);
            if (size !== wanted(fresh)) fresh = set("new", size, available(fresh), 2);
            else {
              const smaller = shrinkOldSets(target, fresh, [old]).get("old") ?? wanted(old);
              const healthyLeft = Math.min(available(old), smaller);
              expect(healthyLeft + available(fresh)).toBeGreaterThanOrEqual(
                Math.min(replicas - unavailable, available(old) + available(fresh)),
              );
              old = set("old", smaller, healthyLeft);
            }
            if (luck[step] ?? true)
              fresh = set("new", wanted(fresh), Math.min(wanted(fresh), available(fresh) + 1), 2);
          }
          expect([wanted(old), wanted(fresh)]).toEqual([0, replicas]);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("takes unhealthy old pods away first", () => {
    expect(shrinkOldSets(deployment(3), set("new", 1, 0, 2), [set("old", 3, 1)]).size).toBe(0);
    const broken = set("old", 3, 0);
    expect(shrinkOldSets(deployment(3), set("new", 1, 1, 2), [broken]).get("old")).toBe(2);
  });

  it("recreates at once", () =>
    expect(newSetSize(deployment(3, { type: "Recreate" }), undefined, [])).toBe(3));
});

describe("a change of size", () => {
  it("goes to the only set", () => {
    expect([...scaleInProportion(deployment(7), set("a", 3, 3), [set("a", 3, 3)])]).toEqual([["a", 7]]);
    expect([...scaleInProportion(deployment(2), undefined, [])]).toEqual([]);
  });

  it("is shared out in the middle of a rollout", () => {
    const scaling = scaleInProportion(deployment(20), set("new", 3, 3, 2), [
      set("old", 9, 9),
      set("new", 3, 3, 2),
    ]);
    const sizes = [...scaling.values()];
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(25);
    expect(scaling.get("old")).toBeGreaterThan(scaling.get("new") ?? 0);
    expect(scaling.get("new")).toBeGreaterThan(3);
  });

  it("to nothing takes all away", () => {
    const sets = [set("old", 9, 9), set("new", 3, 3, 2)];
    expect([...scaleInProportion(deployment(0), sets[1], sets).values()]).toEqual([0, 0]);
    expect(wantedTotal(sets)).toBe(12);
  });
});

it("keeps as many empty sets as the history limit says", () => {
  const target = { ...deployment(1), spec: { ...deployment(1).spec, revisionHistoryLimit: 1 } };
  const gone = beyondHistory(target, [
    set("c", 0, 0, 3),
    set("a", 0, 0, 1),
    set("busy", 1, 1, 0),
    set("b", 0, 0, 2),
  ]);
  expect(gone.map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
});

it("knows a template whatever the order of its fields and its hash label", () => {
  const other = {
    spec: { containers: [{ image: "a:1", name: "m" }] },
    metadata: { labels: { "pod-template-hash": "x", app: "web" } },
  };
  expect(sameTemplate(template, other)).toBe(true);
  expect(templateHash(template, 0)).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{10}$/);
  expect(templateHash(template, 0)).not.toBe(templateHash(template, 1));
  expect(sameTemplate(template, { ...template, spec: { containers: [{ name: "m", image: "a:2" }] } })).toBe(
    false,
  );
});
