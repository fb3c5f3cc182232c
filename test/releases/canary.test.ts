import { expect, test } from "vitest";
import type { CanaryConfig } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND } from "../../api/names.ts";
import { FUNCTION_ALIASES } from "../../kube/kinds.ts";
import { condition } from "../controller/platform.ts";
import { at, canaryWorld, QUICK } from "./canary-world.ts";
import { eventually } from "../eventually.ts";

const world = canaryWorld();

/** What a release decided. On a busy machine a step may have to be held for requests. */
const movesOf = ({ status }: CanaryConfig) =>
  (status?.decisions ?? []).filter(({ action }) => action !== "hold");

test("a good release is promoted step by step, with pods started before each step", async () => {
  const setup = await world.byWeights(QUICK);
  world.traffic(setup, () => ({}));
  const end = await world.ended(setup.canary, "succeeded");
  expect(await setup.weight()).toBe(100);
  expect(movesOf(end).map(({ action, weight }) => `${action} ${weight}`)).toEqual([
    "start 0",
    "weight 10",
    "weight 50",
    "promote 100",
  ]);
  expect(world.warmed.every(({ name }) => name === setup.new.name)).toBe(true);
  expect(condition(await world.get(setup.canary), "Ready")).toMatchObject({
    status: "True",
    reason: "Succeeded",
  });
  const events = await world.eventsOf(setup.canary, "CanaryPromote");
  expect(events.map(({ reason }) => reason)).toContain("CanaryWeight");
});

test("the reference system's fields alone work unchanged", async () => {
  const setup = await world.byWeights({
    weightincrement: 50,
    duration: "200ms",
    failurethreshold: 10,
    failureType: "status-code",
  });
  world.traffic(setup, () => ({}));
  const end = await world.ended(setup.canary, "succeeded");
  expect(movesOf(end).map(({ weight }) => weight)).toEqual([0, 50, 100, 100]);
});

test("a release that fails for 3 % of its requests is taken back, and says so", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 50, duration: "10s" }] });
  world.traffic(setup, () => ({ failing: 0.03 }), 200);
  const { status } = await world.ended(setup.canary, "failed");
  expect(await setup.weight()).toBe(0);
  expect(status?.sentence).toMatch(
    /-b fails [234]\.\d % of its requests, shop\d+-a 0\.0 %: \d+ of [\d,]+ against 0 of/,
  );
  expect(condition(await world.get(setup.canary), "Ready")).toMatchObject({
    status: "False",
    reason: "RolledBack",
  });
});

test("a release that gets slower is taken back", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 50, duration: "10s" }] });
  world.traffic(setup, () => ({ latencyMs: 16 }));
  const { status } = await world.ended(setup.canary, "failed");
  expect(status?.sentence).toMatch(/-b has a median of .* ms, shop\d+-a .* ms \(1\.\d\d times as long/);
});

test("a release that cannot be started under load is taken back at once", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 5, duration: "1h" }], minSamples: 100_000 });
  world.traffic(setup, () => ({ specialiseFailing: 1 }), 20);
  const { status } = await world.ended(setup.canary, "failed");
  expect(status?.sentence).toContain("could not be started");
});

test("a revision that the executor cannot start gets no traffic at all", async () => {
  world.warmth = { failed: "SyntaxError: Unexpected token" };
  const setup = await world.byWeights(QUICK);
  const { status } = await world.ended(setup.canary, "failed");
  expect(status?.sentence).toContain("cannot be started, before it got more traffic: SyntaxError");
  expect(status?.decisions?.map(({ action }) => action)).toEqual(["start", "rollback"]);
  expect(await setup.weight()).toBe(0);
});

test("a silent release is held, and taken back after the longest hold: silence is no success", async () => {
  const setup = await world.byWeights({ ...QUICK, maxHold: "5s" });
  const { status } = await world.inPhase(setup.canary, "holding");
  expect(status?.sentence).toContain("had no request in this step: at least 50 are needed");
  expect(await setup.weight()).toBe(10);
  const end = await world.ended(setup.canary, "failed");
  expect(end.status?.sentence).toContain("No clear answer within the longest hold");
});

test("a controller that goes in the middle leaves the release to the next one", async () => {
  const setup = await world.byWeights({
    steps: [
      { weight: 20, duration: "2s" },
      { weight: 50, duration: "300ms" },
    ],
  });
  world.traffic(setup, () => ({}));
  const before = await world.inPhase(setup.canary, "progressing");
  await world.stopController();
  world.startController();
  const end = await world.ended(setup.canary, "succeeded");
  expect(end.status?.startedAt).toBe(before.status?.startedAt);
  expect(movesOf(end).map(({ action }) => action)).toEqual(["start", "weight", "weight", "promote"]);
});

test("a router that restarts in the middle brings no wrong verdict", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 50, duration: "700ms" }] });
  world.traffic(setup, () => ({}));
  for (let i = 0; i < 3; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    world.router.restart();
  }
  await world.ended(setup.canary, "succeeded");
});

test("a pause waits for approval, commands are obeyed once, and a finished release can be tried again", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 20, duration: "100ms", pause: true }] });
  world.traffic(setup, () => ({}));
  const waits = await world.inPhase(setup.canary, "paused");
  expect(waits.status?.decisions?.at(-1)?.sentence).toContain("waits for approval");
  await world.command(setup.canary, "abort");
  await world.ended(setup.canary, "aborted");
  expect(await setup.weight()).toBe(0);
  await world.command(setup.canary, "retry");
  await world.inPhase(setup.canary, "paused");
  await world.command(setup.canary, "resume");
  await world.ended(setup.canary, "succeeded");
  // Taken off a moment after it was obeyed.
  await eventually(
    () => world.get(setup.canary),
    ({ metadata }) => metadata.annotations?.[ANNOTATION_CANARY_COMMAND] === undefined,
  );
});

test("a command that is given while another one is being obeyed is not lost", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 20, duration: "100ms", pause: true }] });
  world.traffic(setup, () => ({}));
  await world.inPhase(setup.canary, "paused");
  world.beforePatch = async (body) => {
    if (!JSON.stringify(body).includes("canary-command")) return;
    world.beforePatch = undefined;
    await world.command(setup.canary, "retry");
  };
  await world.command(setup.canary, "abort");
  const { status } = await eventually(
    () => world.get(setup.canary),
    ({ metadata, status: now }) =>
      now?.phase === "paused" &&
      now.decisions?.some(({ action }) => action === "abort") === true &&
      metadata.annotations?.[ANNOTATION_CANARY_COMMAND] === undefined,
  );
  expect(status?.decisions?.map(({ action }) => action)).toContain("retry");
});

test("by hand: paused in the middle of a step, then promoted", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 20, duration: "1h" }] });
  await world.inPhase(setup.canary, "progressing");
  await world.command(setup.canary, "pause");
  await world.inPhase(setup.canary, "paused");
  await world.command(setup.canary, "promote");
  await world.ended(setup.canary, "succeeded");
  expect(await setup.weight()).toBe(100);
});

test("a dry run changes no weight and says what it would have done", async () => {
  const setup = await world.byWeights({ ...QUICK, dryRun: true });
  let failing = 0;
  const shadow = { ...setup, weight: () => Promise.resolve(50) };
  world.traffic(shadow, () => ({ failing }));
  failing = 0.2;
  const { status } = await world.ended(setup.canary, "failed");
  expect(status?.sentence).toMatch(/fails \d+\.\d %|failed \d+ of the last/);
  expect(await setup.weight()).toBe(0);
});

test("a canary that makes no sense says why and does nothing", async () => {
  const setup = await world.byWeights({ steps: [{ weight: 50 }, { weight: 20 }] });
  const { status } = await eventually(
    () => world.get(setup.canary),
    (canary) => condition(canary, "Ready") !== undefined,
  );
  expect(status?.conditions?.[0]?.message).toContain(
    "steps[1].weight must be 50..100 (weights never fall), got 20",
  );
  expect(await setup.weight()).toBe(0);
});

test("an alias is moved from one version to the next, with one record of history", async () => {
  // It is looked at in its first step.
  const steps = [
    { weight: 10, duration: "2s" },
    { weight: 50, duration: "250ms" },
  ];
  const setup = await world.byAlias({ steps });
  const { canary: name, old, new: next } = setup;
  const begun = await world.inPhase(name, "progressing");
  const alias = await world.client.get(FUNCTION_ALIASES, at(name));
  expect(alias.spec).toMatchObject({ version: old.name, secondaryVersion: next.name, weight: 90 });
  expect(begun.status?.new?.uid).toBe(begun.status?.old?.uid);
  world.traffic(setup, () => ({}));
  await world.ended(name, "succeeded");
  const end = await eventually(
    () => world.client.get(FUNCTION_ALIASES, at(name)),
    ({ status }) => status?.resolvedVersion === next.name,
  );
  expect(end.spec).toEqual({ functionName: name, version: next.name });
  expect(end.status?.history?.map(({ version }) => version)).toEqual([next.name, old.name]);
});
