import { expect, test } from "vitest";
import { FINALIZER_CANARY_WEIGHTS } from "../../api/names.ts";
import { CANARY_CONFIGS, FUNCTION_ALIASES, FUNCTIONS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { at, canaryOf, canaryWorld, QUICK } from "./canary-world.ts";
import { eventually } from "../eventually.ts";

const world = canaryWorld();
const LONG = { steps: [{ weight: 20, duration: "1h" }] };

const gone = (name: string) =>
  eventually(
    () => world.client.find(CANARY_CONFIGS, at(name)),
    (canary) => canary === undefined,
  );
const aliasOf = (name: string) => world.client.get(FUNCTION_ALIASES, at(name));

test.each(["byWeights", "byAlias"] as const)(
  "a release that is deleted on its way gives the old side all traffic back, and says so (%s)",
  async (mode) => {
    const setup = await world[mode](LONG);
    await world.inPhase(setup.canary, "progressing");
    expect(await setup.weight()).toBe(20);
    expect((await world.get(setup.canary)).metadata.finalizers).toEqual([FINALIZER_CANARY_WEIGHTS]);
    await world.client.delete(CANARY_CONFIGS, at(setup.canary));
    await gone(setup.canary);
    expect(await setup.weight()).toBe(0);
    if (mode === "byAlias")
      expect((await aliasOf(setup.canary)).spec).toEqual({
        functionName: setup.canary,
        version: setup.old.name,
      });
    const events = await world.eventsOf(setup.canary, "CanaryAbort");
    expect(events.find(({ reason }) => reason === "CanaryAbort")?.message).toBe(
      `The release was deleted: ${setup.old.name} has all requests again`,
    );
  },
);

test("one that is deleted while no controller runs is ended by the next", async () => {
  const setup = await world.byAlias(LONG);
  await world.inPhase(setup.canary, "progressing");
  await world.stopController();
  await world.client.delete(CANARY_CONFIGS, at(setup.canary));
  expect(await setup.weight()).toBe(20);
  world.startController();
  await gone(setup.canary);
  expect(await setup.weight()).toBe(0);
});

test("one that has ended, or never began, goes at once and changes nothing", async () => {
  const setup = await world.byWeights(QUICK);
  world.traffic(setup, () => ({}));
  await world.ended(setup.canary, "succeeded");
  await eventually(
    () => world.get(setup.canary),
    ({ metadata }) => (metadata.finalizers ?? []).length === 0,
  );
  await world.client.delete(CANARY_CONFIGS, at(setup.canary));
  await gone(setup.canary);
  expect(await setup.weight()).toBe(100);

  const nowhere = canaryOf("nowhere", { trigger: "none", newfunction: "a", oldfunction: "b" });
  await world.client.create(CANARY_CONFIGS, nowhere);
  await eventually(
    () => world.get("nowhere"),
    ({ status }) => status?.phase === "waiting",
  );
  await world.client.delete(CANARY_CONFIGS, at("nowhere"));
  await gone("nowhere");
});

test("a namespace with a release under way can be deleted", async () => {
  const setup = await world.byAlias(LONG);
  const { status } = await world.inPhase(setup.canary, "progressing");
  await world.stopController();
  const namespace = "leaving";
  await world.client.create(NAMESPACES, { metadata: { name: namespace } });
  const alias = await aliasOf(setup.canary);
  const inside = { namespace, name: setup.canary };
  await world.client.create(FUNCTION_ALIASES, { ...alias, metadata: inside });
  const { spec, ...canary } = await world.get(setup.canary);
  await world.client.create(CANARY_CONFIGS, {
    ...canary,
    spec,
    metadata: { ...inside, finalizers: [FINALIZER_CANARY_WEIGHTS] },
  });
  await world.client.patchStatus(CANARY_CONFIGS, inside, status);
  await world.client.delete(NAMESPACES, { name: namespace });
  world.startController();
  await eventually(
    () => world.client.find(NAMESPACES, { name: namespace }),
    (found) => found === undefined,
  );
  await world.client.delete(CANARY_CONFIGS, at(setup.canary));
  await gone(setup.canary);
});

test("a route that is gone is waited for, and the alias is given back all the same at the end", async () => {
  const setup = await world.byAlias({ ...LONG, maxHold: "5s" });
  await world.inPhase(setup.canary, "progressing");
  await world.client.delete(HTTP_TRIGGERS, at(setup.canary));
  const held = await world.inPhase(setup.canary, "holding");
  expect(held.status?.sentence).toBe(`HTTPTrigger "${setup.canary}" does not exist`);
  const { status } = await world.ended(setup.canary, "failed");
  expect(status?.sentence).toContain(`HTTPTrigger "${setup.canary}" does not exist`);
  expect((await aliasOf(setup.canary)).spec).toEqual({
    functionName: setup.canary,
    version: setup.old.name,
  });
});

test("function and route that go under a release leave nothing that cannot be deleted", async () => {
  const setup = await world.byWeights(LONG);
  await world.inPhase(setup.canary, "progressing");
  await world.client.delete(FUNCTIONS, at(setup.new.name));
  const held = await world.inPhase(setup.canary, "holding");
  expect(held.status?.sentence).toBe(`Function "${setup.new.name}" does not exist`);
  await world.client.delete(HTTP_TRIGGERS, at(setup.canary));
  await world.client.delete(CANARY_CONFIGS, at(setup.canary));
  await gone(setup.canary);
});

test("an alias that goes under a release is named, and nothing hangs", async () => {
  const setup = await world.byAlias(LONG);
  await world.inPhase(setup.canary, "progressing");
  await world.client.delete(FUNCTION_ALIASES, at(setup.canary));
  const held = await world.inPhase(setup.canary, "holding");
  expect(held.status?.sentence).toBe(`FunctionAlias "${setup.canary}" does not exist`);
  await world.client.delete(CANARY_CONFIGS, at(setup.canary));
  await gone(setup.canary);
});

test("who moves the alias elsewhere has decided: the release is over and leaves it there", async () => {
  const setup = await world.byAlias(LONG);
  await world.inPhase(setup.canary, "progressing");
  const third = await world.publishNext(setup.canary);
  const spec = { version: third.name, weight: null, secondaryVersion: null };
  await world.client.patch(FUNCTION_ALIASES, at(setup.canary), { spec });
  const { status } = await world.ended(setup.canary, "aborted");
  expect(status?.sentence).toContain(
    `names version "${third.name}" now, neither "${setup.old.name}" nor "${setup.new.name}"`,
  );
  expect((await aliasOf(setup.canary)).spec).toEqual({ functionName: setup.canary, version: third.name });
});

test("who takes the new version out of the alias has decided too", async () => {
  const setup = await world.byAlias(LONG);
  await world.inPhase(setup.canary, "progressing");
  const spec = { weight: null, secondaryVersion: null };
  await world.client.patch(FUNCTION_ALIASES, at(setup.canary), { spec });
  const { status } = await world.ended(setup.canary, "aborted");
  expect(status?.sentence).toContain(`has "${setup.new.name}" beside "${setup.old.name}" no more`);
  expect(await setup.weight()).toBe(0);
});

test("a route that leaves the alias ends the release, and the alias is whole again", async () => {
  const setup = await world.byAlias(LONG);
  await world.inPhase(setup.canary, "progressing");
  await world.client.patch(HTTP_TRIGGERS, at(setup.canary), { spec: { functionref: { alias: null } } });
  const { status } = await world.ended(setup.canary, "aborted");
  expect(status?.sentence).toContain(`goes to function "${setup.canary}" now`);
  expect(await setup.weight()).toBe(0);
});

test("what was released before is remembered by the next release of the same name", async () => {
  const setup = await world.byAlias(LONG);
  await world.inPhase(setup.canary, "progressing");
  await world.command(setup.canary, "abort");
  await world.ended(setup.canary, "aborted");
  const third = await world.publishNext(setup.canary);
  await world.client.patch(CANARY_CONFIGS, at(setup.canary), { spec: { newfunction: third.name } });
  const { status } = await world.inPhase(setup.canary, "progressing");
  expect(status?.new?.name).toBe(third.name);
  expect(status?.past?.map(({ new: next, phase, sentence }) => [next, phase, sentence])).toEqual([
    [setup.new.name, "aborted", "The release was aborted by hand"],
  ]);
  expect(status?.decisions?.map(({ action }) => action)).toEqual([
    "start",
    "weight",
    "abort",
    "start",
    "weight",
  ]);
  await world.client.delete(CANARY_CONFIGS, at(setup.canary));
  await gone(setup.canary);
});
