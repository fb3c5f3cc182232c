import { expect, it } from "vitest";
import type { FunctionAlias, Function as FunctionObject, FunctionVersion } from "../../api/kinds/index.ts";
import type { FunctionWorld } from "../../kube/function-world.ts";
import { runFacts } from "../../test/workflows/run-facts.ts";
import { newRun } from "../core/new-run.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import { holdAnnotation, versionHolder } from "./hold.ts";
import { holdsReleaser } from "./release-holds.ts";
import { createPins } from "./resolve-pins.ts";

const version = (sequence: number, annotations: Record<string, string> = {}) =>
  ({
    metadata: { namespace: "shop", name: `charge-v${sequence}`, uid: `v${sequence}`, annotations },
    spec: { functionName: "charge", functionUID: "f", sequence },
  }) as unknown as FunctionVersion;
const alias = (spec: object) =>
  ({
    metadata: { namespace: "shop", name: "live" },
    spec: { functionName: "charge", ...spec },
  }) as FunctionAlias;

function worldOf(versions: readonly FunctionVersion[], aliases: readonly FunctionAlias[] = []) {
  const world: Omit<FunctionWorld, "start" | "stop" | "synced" | "isSynced"> = {
    function: () => undefined as FunctionObject | undefined,
    alias: (_namespace, name) => aliases.find(({ metadata }) => metadata.name === name),
    version: (_namespace, name) => versions.find(({ metadata }) => metadata.name === name),
    versionsOf: () => versions,
    allVersions: () => versions,
    aliasesOf: () => aliases,
  };
  return world;
}

/** The API server, as far as annotations of versions go. */
function kube() {
  const patches: [string, unknown][] = [];
  const patch = (_type: unknown, ref: { name: string }, body: unknown) => {
    patches.push([ref.name, body]);
    return Promise.resolve({} as never);
  };
  const unused = () => Promise.reject(new Error("not asked for"));
  return { patches, client: { patch, list: unused, create: unused, find: unused } };
}

const held = { metadata: { annotations: { [holdAnnotation("order")]: expect.any(String) } } };

it("gives a run of an alias one of its versions, always the same, by its weights, and holds it", async () => {
  const { client, patches } = kube();
  const split = alias({ version: "charge-v1", weight: 70, secondaryVersion: "charge-v2" });
  const pins = createPins({ client, world: worldOf([version(1), version(2)], [split]) });
  const actors = { charge: { kind: "function", name: "charge", alias: "live" } } as const;
  const choose = async (runId: string) => {
    const resolved = await pins.resolve({ namespace: "shop", workflow: "order", runId, actors });
    return resolved["charge"];
  };
  const ids = Array.from({ length: 400 }, (_, n) => `run-${n}`);
  const first = await Promise.all(ids.map(choose));
  expect(await Promise.all(ids.map(choose))).toEqual(first);
  const ones = first.filter((pin) => pin?.kind === "function" && pin.version === "charge-v1").length;
  expect(ones).toBeGreaterThan(230);
  expect(ones).toBeLessThan(330);
  expect(new Set(patches.map(([name]) => name))).toEqual(new Set(["charge-v1", "charge-v2"]));
  expect(patches[0]?.[1]).toEqual(held);
});

it("names the function that keeps a run from starting", async () => {
  const pins = createPins({ client: kube().client, world: worldOf([version(1)]) });
  const resolve = (actor: object) =>
    pins.resolve({
      namespace: "shop",
      workflow: "order",
      runId: "r",
      actors: { charge: { kind: "function", name: "charge", ...actor } },
    });
  await expect(resolve({})).rejects.toThrow(
    'Cannot start workflow "order": function "charge" does not exist',
  );
  await expect(resolve({ version: "charge-v9" })).rejects.toThrow('has no version "charge-v9"');
  await expect(resolve({ alias: "live" })).rejects.toThrow('has no alias "live"');
  expect(await resolve({ version: "charge-v1" })).toMatchObject({ charge: { version: "charge-v1" } });
});

it("holds a version at once, however young the process is, and not twice", async () => {
  const { client, patches } = kube();
  const hold = versionHolder({ client, world: worldOf([version(1)]) });
  await hold("shop", "charge-v1", "order");
  await hold("shop", "charge-v1", "order");
  expect(patches).toEqual([["charge-v1", held]]);
  expect(holdAnnotation("a".repeat(253)).split("/")[1]?.length).toBeLessThanOrEqual(63);
});

it("gives a version back once no run needs it and no new one gets it, and has not for a while", async () => {
  const note = { [holdAnnotation("order")]: 'runs of Workflow "order" are pinned to it' };
  const journal = memoryJournal({ now: () => 0 });
  const pinned = newRun(
    runFacts("one", null, { pins: { charge: { kind: "function", name: "charge", version: "charge-v1" } } }),
  );
  await journal.create(pinned.record, pinned.history);
  const { client, patches } = kube();
  const versions = [version(1, note), version(2, note), version(3, note), version(4, note)];
  const world = worldOf(versions, [alias({ version: "charge-v3" })]);
  let at = 0;
  const releaser = holdsReleaser({ journal, client, world, idleMs: 1_000, now: () => at });
  expect(await releaser.release()).toBe(0);
  at = 2_000;
  expect(await releaser.release()).toBe(1);
  expect(patches).toEqual([
    ["charge-v2", { metadata: { annotations: { [holdAnnotation("order")]: null } } }],
  ]);
});
