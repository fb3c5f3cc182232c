import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { CanaryConfig, CanaryConfigSpec } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND, API_GROUP_VERSION } from "../../api/names.ts";
import { routerCounters } from "../../controller/canary/router-counters.ts";
import type { Warmth } from "../../controller/canary/decide.ts";
import { EVENTS } from "../../kube/core.ts";
import {
  CANARY_CONFIGS,
  ENVIRONMENTS,
  FUNCTION_ALIASES,
  FUNCTIONS,
  HTTP_TRIGGERS,
  PACKAGES,
} from "../../kube/kinds.ts";
import { publishVersion } from "../../kube/publish-version.ts";
import { keyRing } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { environment, fn, literalPackage, trigger } from "../controller/objects.ts";
import {
  condition,
  eventually,
  type KubeServer,
  MemoryArchives,
  type RunningController,
  runController,
  startKube,
} from "../controller/platform.ts";
import { type Behaviour, type FakeRouter, startFakeRouter } from "./fake-router.ts";

const keys = keyRing(["canary-test-key-canary-test-key-0123456789"]);
const at = (name: string) => ({ namespace: "default", name });
const archives = new MemoryArchives();
let kube: KubeServer;
let router: FakeRouter;
let counters: ReturnType<typeof routerCounters>;
let running: RunningController;
let warmed: { name: string; pods: number }[] = [];
let warmth: Warmth = "ready";
let stopTraffic: (() => void) | undefined;
let serial = 0;

const start = () =>
  runController(kube.client, {
    archives,
    canary: {
      counters,
      warm: (_namespace, { name }, pods) => {
        warmed.push({ name, pods });
        return Promise.resolve(warmth);
      },
      tickMs: 40,
      settleMs: 60,
    },
  });

beforeAll(async () => {
  kube = await startKube();
  router = await startFakeRouter(keys);
  counters = routerCounters({
    keys,
    peers: `http://127.0.0.1:${router.port}`,
    log: processLog("test", { level: "error" }),
  });
  running = start();
  await kube.client.create(ENVIRONMENTS, environment("deno"));
});
afterEach(() => {
  stopTraffic?.();
  stopTraffic = undefined;
  warmed = [];
  warmth = "ready";
});
afterAll(async () => {
  await running.controller.stop();
  await counters.close();
  await router.stop();
  await kube.stop();
});

interface SideIdentity {
  readonly name: string;
  readonly uid: string;
  readonly revision: string;
}
interface Setup {
  readonly canary: string;
  readonly old: SideIdentity;
  readonly new: SideIdentity;
  /** Share of the new side in percent, as the router would read it. */
  readonly weight: () => Promise<number>;
}

async function deploy(name: string, code: string): Promise<SideIdentity> {
  await kube.client.create(PACKAGES, literalPackage(name, code));
  await kube.client.create(FUNCTIONS, fn(name, { package: { packageref: at(name), functionName: "" } }));
  const live = await eventually(
    () => kube.client.get(FUNCTIONS, at(name)),
    ({ status }) => status?.serving !== undefined,
  );
  return { name, uid: live.metadata.uid ?? "", revision: live.status?.serving?.revision ?? "" };
}

const canaryOf = (name: string, spec: CanaryConfigSpec): CanaryConfig => ({
  apiVersion: API_GROUP_VERSION,
  kind: "CanaryConfig",
  metadata: at(name),
  spec,
});

/** Two functions behind one route, and a canary between them. */
async function byWeights(spec: Partial<CanaryConfigSpec>): Promise<Setup> {
  const name = `shop${(serial += 1)}`;
  const [old, next] = [await deploy(`${name}-a`, `${name} a`), await deploy(`${name}-b`, `${name} b`)];
  const functionweights = { [next.name]: 0, [old.name]: 100 };
  await kube.client.create(
    HTTP_TRIGGERS,
    trigger(name, `/${name}`, { functionref: { type: "function-weights", name: old.name, functionweights } }),
  );
  await kube.client.create(
    CANARY_CONFIGS,
    canaryOf(name, { trigger: name, newfunction: next.name, oldfunction: old.name, minSamples: 50, ...spec }),
  );
  const weight = async () =>
    (await kube.client.get(HTTP_TRIGGERS, at(name))).spec.functionref.functionweights?.[next.name] ?? 0;
  return { canary: name, old, new: next, weight };
}

/** Requests to both sides by the weights that stand in the route. */
function traffic(setup: Setup, behaviour: () => Behaviour, perTick = 60): void {
  const stopping = new AbortController();
  const beat = async () => {
    while (!stopping.signal.aborted) {
      const weight = await setup.weight();
      router.serve(setup.new, Math.round((perTick * weight) / 100), behaviour());
      router.serve(setup.old, Math.round((perTick * (100 - weight)) / 100));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  void beat().catch(() => undefined);
  stopTraffic = () => stopping.abort();
}

const get = (name: string) => kube.client.get(CANARY_CONFIGS, at(name));
const ended = (name: string, status: string) =>
  eventually(
    () => get(name),
    (canary) => canary.status?.status === status && canary.status.applied === true,
  );
const inPhase = (name: string, phase: string) =>
  eventually(
    () => get(name),
    ({ status }) => status?.phase === phase && status.applied === true,
  );
const command = (name: string, word: string) =>
  kube.client.patch(CANARY_CONFIGS, at(name), {
    metadata: { annotations: { [ANNOTATION_CANARY_COMMAND]: word } },
  });
const QUICK = { steps: [10, 50].map((weight) => ({ weight, duration: "250ms" })) };

test("a good release is promoted step by step, with pods started before each step", async () => {
  const setup = await byWeights(QUICK);
  traffic(setup, () => ({}));
  const { status } = await ended(setup.canary, "succeeded");
  expect(await setup.weight()).toBe(100);
  expect(status?.decisions?.map(({ action, weight }) => `${action} ${weight}`)).toEqual([
    "start 0",
    "weight 10",
    "weight 50",
    "promote 100",
  ]);
  expect(warmed.every(({ name }) => name === setup.new.name)).toBe(true);
  expect(condition(await get(setup.canary), "Ready")).toMatchObject({ status: "True", reason: "Succeeded" });
  const events = await eventually(
    async () => (await kube.client.list(EVENTS, { namespace: "default" })).items,
    (items) =>
      items.some(
        ({ reason, involvedObject }) => reason === "CanaryPromote" && involvedObject.name === setup.canary,
      ),
  );
  expect(
    events.filter(({ involvedObject }) => involvedObject.name === setup.canary).map(({ reason }) => reason),
  ).toContain("CanaryWeight");
});

test("the reference system's fields alone work unchanged", async () => {
  const setup = await byWeights({
    weightincrement: 50,
    duration: "200ms",
    failurethreshold: 10,
    failureType: "status-code",
  });
  traffic(setup, () => ({}));
  const { status } = await ended(setup.canary, "succeeded");
  expect(status?.decisions?.map(({ weight }) => weight)).toEqual([0, 50, 100, 100]);
});

test("a release that fails for 3 % of its requests is taken back, and says so", async () => {
  const setup = await byWeights({ steps: [{ weight: 50, duration: "10s" }] });
  traffic(setup, () => ({ failing: 0.03 }), 200);
  const { status } = await ended(setup.canary, "failed");
  expect(await setup.weight()).toBe(0);
  expect(status?.sentence).toMatch(
    /-b fails [234]\.\d % of its requests, shop\d+-a 0\.0 %: \d+ of [\d,]+ against 0 of/,
  );
  expect(condition(await get(setup.canary), "Ready")).toMatchObject({
    status: "False",
    reason: "RolledBack",
  });
});

test("a release that gets slower is taken back", async () => {
  const setup = await byWeights({ steps: [{ weight: 50, duration: "10s" }] });
  traffic(setup, () => ({ latencyMs: 16 }));
  const { status } = await ended(setup.canary, "failed");
  expect(status?.sentence).toMatch(/-b has a median of .* ms, shop\d+-a .* ms \(1\.\d\d times as long/);
});

test("a release that cannot be started under load is taken back at once", async () => {
  const setup = await byWeights({ steps: [{ weight: 5, duration: "1h" }], minSamples: 100_000 });
  traffic(setup, () => ({ specialiseFailing: 1 }), 20);
  const { status } = await ended(setup.canary, "failed");
  expect(status?.sentence).toContain("could not be started");
});

test("a revision that the executor cannot start gets no traffic at all", async () => {
  warmth = { failed: "SyntaxError: Unexpected token" };
  const setup = await byWeights(QUICK);
  const { status } = await ended(setup.canary, "failed");
  expect(status?.sentence).toContain("cannot be started, before it got more traffic: SyntaxError");
  expect(status?.decisions?.map(({ action }) => action)).toEqual(["start", "rollback"]);
  expect(await setup.weight()).toBe(0);
});

test("a silent release is held, and taken back after the longest hold: silence is no success", async () => {
  const setup = await byWeights({ ...QUICK, maxHold: "500ms" });
  const { status } = await inPhase(setup.canary, "holding");
  expect(status?.sentence).toContain("had no request in this step: at least 50 are needed");
  expect(await setup.weight()).toBe(10);
  const end = await ended(setup.canary, "failed");
  expect(end.status?.sentence).toContain("No clear answer within the longest hold");
});

test("a controller that goes in the middle leaves the release to the next one", async () => {
  const setup = await byWeights({
    steps: [
      { weight: 20, duration: "900ms" },
      { weight: 50, duration: "300ms" },
    ],
  });
  traffic(setup, () => ({}));
  const before = await inPhase(setup.canary, "progressing");
  await running.controller.stop();
  running = start();
  const { status } = await ended(setup.canary, "succeeded");
  expect(status?.startedAt).toBe(before.status?.startedAt);
  expect(status?.decisions?.map(({ action }) => action)).toEqual(["start", "weight", "weight", "promote"]);
});

test("a router that restarts in the middle brings no wrong verdict", async () => {
  const setup = await byWeights({ steps: [{ weight: 50, duration: "700ms" }] });
  traffic(setup, () => ({}));
  for (let i = 0; i < 3; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    router.restart();
  }
  await ended(setup.canary, "succeeded");
});

test("a pause waits for approval, commands are obeyed once, and a finished release can be tried again", async () => {
  const setup = await byWeights({ steps: [{ weight: 20, duration: "100ms", pause: true }] });
  traffic(setup, () => ({}));
  const waits = await inPhase(setup.canary, "paused");
  expect(waits.status?.sentence).toContain("waits for approval");
  await command(setup.canary, "abort");
  await ended(setup.canary, "aborted");
  expect(await setup.weight()).toBe(0);
  await command(setup.canary, "retry");
  await inPhase(setup.canary, "paused");
  await command(setup.canary, "resume");
  await ended(setup.canary, "succeeded");
  expect((await get(setup.canary)).metadata.annotations?.[ANNOTATION_CANARY_COMMAND]).toBeUndefined();
});

test("by hand: paused in the middle of a step, then promoted", async () => {
  const setup = await byWeights({ steps: [{ weight: 20, duration: "1h" }] });
  await inPhase(setup.canary, "progressing");
  await command(setup.canary, "pause");
  await inPhase(setup.canary, "paused");
  await command(setup.canary, "promote");
  await ended(setup.canary, "succeeded");
  expect(await setup.weight()).toBe(100);
});

test("a dry run changes no weight and says what it would have done", async () => {
  const setup = await byWeights({ ...QUICK, dryRun: true });
  let failing = 0;
  const shadow = { ...setup, weight: () => Promise.resolve(50) };
  traffic(shadow, () => ({ failing }));
  failing = 0.2;
  const { status } = await ended(setup.canary, "failed");
  expect(status?.sentence).toMatch(/fails \d+\.\d %|failed \d+ of the last/);
  expect(await setup.weight()).toBe(0);
});

test("a canary that makes no sense says why and does nothing", async () => {
  const setup = await byWeights({ steps: [{ weight: 50 }, { weight: 20 }] });
  const { status } = await eventually(
    () => get(setup.canary),
    (canary) => condition(canary, "Ready") !== undefined,
  );
  expect(status?.conditions?.[0]?.message).toContain(
    "steps[1].weight must be 50..100 (weights never fall), got 20",
  );
  expect(await setup.weight()).toBe(0);
});

test("an alias is moved from one version to the next, with one record of history", async () => {
  const name = `alias${(serial += 1)}`;
  await deploy(name, `${name} one`);
  const { version: one } = await publishVersion(kube.client, await kube.client.get(FUNCTIONS, at(name)), {
    now: new Date(),
  });
  const { metadata } = await kube.client.get(PACKAGES, at(name));
  await kube.client.patch(PACKAGES, metadata, {
    spec: { deployment: { type: "literal", literal: Buffer.from(`${name} two`).toString("base64") } },
  });
  const changed = await eventually(
    () => kube.client.get(FUNCTIONS, at(name)),
    ({ status }) =>
      status?.serving !== undefined && status.serving.package.digest !== one.spec.packageDigest.slice(7),
  );
  const { version: two } = await publishVersion(kube.client, changed, { now: new Date() });
  await kube.client.create(FUNCTION_ALIASES, {
    apiVersion: API_GROUP_VERSION,
    kind: "FunctionAlias",
    metadata: at(name),
    spec: { functionName: name, version: one.metadata.name },
  });
  await kube.client.create(
    HTTP_TRIGGERS,
    trigger(name, `/${name}`, { functionref: { type: "name", name, alias: name } }),
  );
  const versions = { newfunction: two.metadata.name, oldfunction: one.metadata.name };
  await kube.client.create(
    CANARY_CONFIGS,
    canaryOf(name, { trigger: name, ...versions, minSamples: 50, ...QUICK }),
  );
  const begun = await inPhase(name, "progressing");
  const alias = await kube.client.get(FUNCTION_ALIASES, at(name));
  expect(alias.spec).toMatchObject({
    version: one.metadata.name,
    secondaryVersion: two.metadata.name,
    weight: 90,
  });
  const { old, new: next } = begun.status ?? {};
  if (!old || !next) throw new Error("The canary has no sides");
  expect(next.uid).toBe(old.uid);
  const weight = async () => {
    const { spec } = await kube.client.get(FUNCTION_ALIASES, at(name));
    return spec.version === two.metadata.name ? 100 : 100 - (spec.weight ?? 100);
  };
  traffic({ canary: name, old, new: next, weight }, () => ({}));
  await ended(name, "succeeded");
  const end = await eventually(
    () => kube.client.get(FUNCTION_ALIASES, at(name)),
    ({ status }) => status?.resolvedVersion === two.metadata.name,
  );
  expect(end.spec).toEqual({ functionName: name, version: two.metadata.name });
  expect(end.status?.history?.map(({ version }) => version)).toEqual([two.metadata.name, one.metadata.name]);
});
