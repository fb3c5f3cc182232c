import { describe, expect, it } from "vitest";
import type { HTTPTrigger } from "../../api/kinds/index.ts";
import { desiredObjects, type FunctionObjects } from "./desired-objects.ts";
import { keepAliases } from "./keep-aliases.ts";
import { planObject, type PlannedObject } from "./plan.ts";
import { aliasesInUse, planThroughAlias, releaseKind } from "./release-plan.ts";

const TARGET = { namespace: "default", deployment: "shop" };
const objectsOf = (digest: string): FunctionObjects =>
  desiredObjects(
    "cart",
    {
      route: ["/cart", "/basket"],
      cron: "@hourly",
      watch: { kind: "Pod" },
      queue: { type: "redis-streams", topic: "carts" },
    },
    { digest: digest.repeat(64), entry: "cart.ts" },
    TARGET,
  );

const all = (objects: FunctionObjects): [string, PlannedObject["object"]][] => [
  ["Package", objects.package],
  ["Function", objects.function],
  ...objects.triggers.map((trigger): [string, PlannedObject["object"]] => ["HTTPTrigger", trigger]),
  ...objects.events.map((trigger): [string, PlannedObject["object"]] => [trigger.kind, trigger]),
];

/** A plan of `wanted` where `live` is what was deployed before. */
function planned(wanted: FunctionObjects, live: FunctionObjects | undefined) {
  const before = new Map(
    live ? all(live).map(([kind, object]) => [`${kind}/${object.metadata.name}`, object]) : [],
  );
  return {
    prepared: { name: "cart", entry: "/cart.ts", archive: new Uint8Array(), watched: [], objects: wanted },
    actions: all(wanted).map(([kind, object]) =>
      planObject(kind, object, before.get(`${kind}/${object.metadata.name}`)),
    ),
  };
}

const through = (trigger: HTTPTrigger, alias: string): HTTPTrigger => ({
  ...trigger,
  spec: { ...trigger.spec, functionref: { ...trigger.spec.functionref, alias } },
});

describe("what a deployment releases", () => {
  it("is a function whose code changed, and none that is new or the same", () => {
    expect(releaseKind(planned(objectsOf("a"), undefined))).toBe("new");
    expect(releaseKind(planned(objectsOf("a"), objectsOf("a")))).toBe("same");
    expect(releaseKind(planned(objectsOf("b"), objectsOf("a")))).toBe("changed");
  });

  it("is nothing when only a route changed", () => {
    const moved = objectsOf("a");
    const [first, ...rest] = moved.triggers;
    const triggers = first ? [{ ...first, spec: { ...first.spec, relativeurl: "/new" } }, ...rest] : [];
    expect(releaseKind(planned({ ...moved, triggers }, objectsOf("a")))).toBe("same");
  });
});

describe("routes through an alias", () => {
  const live = objectsOf("a");
  const aliased = { ...live, triggers: live.triggers.map((trigger) => through(trigger, "cart-live")) };
  const find = (kind: string, name: string) =>
    all(aliased).find(([candidate, { metadata }]) => candidate === kind && metadata.name === name)?.[1];

  it("stay on it", () => {
    const kept = keepAliases(objectsOf("a"), { find });
    const plan = planned(kept, aliased);
    expect(plan.actions.map(({ action }) => action)).toEqual(plan.actions.map(() => "unchanged"));
    expect(aliasesInUse(plan)).toEqual(["cart-live"]);
  });

  it("leave it when it is not to be kept", () => {
    const plan = planned(objectsOf("a"), aliased);
    const changes = plan.actions.filter(({ kind }) => kind === "HTTPTrigger").flatMap((each) => each.changes);
    expect(changes).toEqual(["spec.functionref.alias", "spec.functionref.alias"]);
  });

  it("are not taken from triggers that call another function", () => {
    const other = (kind: string, name: string) => {
      const found = find(kind, name);
      return found && kind === "HTTPTrigger"
        ? { ...found, spec: { functionref: { type: "name", name: "other", alias: "cart-live" } } }
        : found;
    };
    const kept = keepAliases(objectsOf("a"), { find: other });
    expect(kept.triggers.map(({ spec }) => spec.functionref.alias)).toEqual([undefined, undefined]);
  });

  it("are those of all triggers, also of timers, watches and queues", () => {
    const through = (at: number): FunctionObjects => {
      const { objects } = planThroughAlias(planned(objectsOf("a"), undefined), `alias-${at}`).prepared;
      return objects;
    };
    const mixed = {
      ...objectsOf("a"),
      events: objectsOf("a").events.map((trigger, at) => through(at).events[at] ?? trigger),
    };
    expect(aliasesInUse(planned(objectsOf("b"), mixed))).toEqual(["alias-0", "alias-1", "alias-2"]);
  });

  it("are wanted for every trigger of a function that is released, and were moved there before", () => {
    const plan = planThroughAlias(planned(objectsOf("b"), live), "cart-live");
    const { objects } = plan.prepared;
    const aliases = [...objects.triggers, ...objects.events].map(({ spec }) => spec.functionref.alias);
    expect(aliases).toEqual(Array(5).fill("cart-live"));
    expect(plan.actions.map(({ kind, action, changes }) => [kind, action, changes])).toEqual([
      ["Package", "update", ["spec.source.url", "spec.source.checksum.sum"]],
      ["Function", "unchanged", []],
      ["HTTPTrigger", "unchanged", []],
      ["HTTPTrigger", "unchanged", []],
      ["TimeTrigger", "unchanged", []],
      ["KubernetesWatchTrigger", "unchanged", []],
      ["MessageQueueTrigger", "unchanged", []],
    ]);
  });
});
