import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import type { CanaryConfigStatus, FunctionAlias } from "../../api/kinds/index.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { DEPLOYMENTS } from "../../kube/core.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import { CANARY_CONFIGS, FUNCTION_ALIASES } from "../../kube/kinds.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import { decisionsOf, type Load, redeploy, says, startLoad } from "./releasing.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

/**
 * Releases while parts of the platform die. Each asserts that no request failed by the release, and that every weight was given once
 * and in order.
 */
const STEPS = [
  "--canary=20%,40%,60%",
  "--canary-interval=3s",
  "--min-samples=30",
  // What is asked here is who gets which traffic; parts that start again take the machine from both sides unequally.
  ...["50", "95", "99"].flatMap((percentile) => [`--max-p${percentile}-ratio`, "1000"]),
];
const ALL_ONCE = ["start 0", "weight 20", "weight 40", "weight 60", "promote 100"];
/** Share of the new version, as the alias has it in turn. */
const ALL_WEIGHTS = [0, 20, 40, 60, 100];
/** Into a step: the first requests after a new weight are not counted. */
const COUNTING_MS = 2_200;
const TEST_MS = 400_000;

let platform: TestPlatform;
let kube: KubeClient;
let aliases: Informer<FunctionAlias>;
let weights: number[] = [];
let load: Load | undefined;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
}, 240_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});
beforeEach(() => {
  weights = [];
  aliases = createInformer({ client: kube, type: FUNCTION_ALIASES, namespace: platform.namespace });
});
afterEach(async () => {
  await load?.stop().catch(() => undefined);
  await aliases.stop();
});

const statusOf = async (name: string): Promise<CanaryConfigStatus> =>
  (await kube.get(CANARY_CONFIGS, { namespace: platform.namespace, name })).status ?? {};

/** Notes each share that the new version gets. */
async function watchWeights(name: string): Promise<void> {
  aliases.subscribe({
    onChange: (change) => {
      if (change.type === "delete") return;
      const { object } = change;
      if (object.metadata.name !== `${name}-live`) return;
      const { version, weight = 100 } = object.spec;
      const share = version === `${name}-v2` ? 100 : 100 - weight;
      if (weights.at(-1) !== share) weights.push(share);
    },
  });
  aliases.start();
  await aliases.synced;
}

/** A release of a function under load; resolves when it has begun. Nothing but its answers is new, and each takes some time. */
async function release(name: string, atOnce = 4): Promise<void> {
  const takes = "await new Promise((done) => setTimeout(done, 10));";
  const folder = await deploy(platform, { [`${name}.ts`]: says("old", `/${name}`, takes) });
  load = await startLoad(platform, `/${name}`, { atOnce, sendAgain: true });
  await watchWeights(name);
  await redeploy(platform, folder, name, says("new", `/${name}`, takes), ...STEPS);
}

async function promoted(name: string): Promise<CanaryConfigStatus> {
  const status = await asserted(async () => {
    const now = await statusOf(name);
    expect(now).toMatchObject({ phase: expect.stringMatching(/succeeded|failed/), applied: true });
    return now;
  });
  expect(status.sentence).not.toContain("rollback");
  const actions = (await decisionsOf(platform, name)).map(({ action, weight }) => `${action} ${weight}`);
  expect([actions.filter((action) => !action.startsWith("hold")), status.sentence]).toEqual([
    ALL_ONCE,
    expect.anything(),
  ]);
  await vi.waitFor(() => expect(weights).toEqual(ALL_WEIGHTS), { timeout: 30_000 });
  const answers = await load?.stop();
  expect([...(answers?.keys() ?? [])].toSorted()).toEqual(["new", "old"]);
  return status;
}

it(
  "a controller that is killed in the middle is followed by one that goes on: no step is lost, none comes twice",
  async () => {
    const name = "survives-controllers";
    await release(name);
    const started = await asserted(async () => {
      const status = await statusOf(name);
      expect(status.phase).toBe("progressing");
      return status;
    });
    await platform.crash("controller");
    // Again as soon as the next step is decided: it may or may not have been acted on.
    await asserted(async () => expect((await statusOf(name)).weight).toBe(40));
    await platform.crash("controller");
    const ended = await promoted(name);
    expect(ended.startedAt).toBe(started.startedAt);
  },
  TEST_MS,
);

it(
  "a router that is killed in the middle, and counts from 0 again, brings no wrong verdict",
  async () => {
    const name = "survives-routers";
    await release(name);
    for (const weight of [20, 60]) {
      await asserted(async () =>
        expect(await statusOf(name)).toMatchObject({ weight, phase: "progressing", applied: true }),
      );
      // Some of the step is counted by then, and some is not.
      await sleep(COUNTING_MS);
      await platform.crash("router");
    }
    await promoted(name);
    expect(load?.broken.size).toBeGreaterThan(0);
  },
  TEST_MS,
);

// A laptop has one router.
if (onCluster)
  it("routers that come and go are counted, each once", async () => {
    const name = "counts-routers";
    const namespace = platform.installed?.platformNamespace ?? "";
    const folder = await deploy(platform, { [`${name}.ts`]: says("old", `/${name}`) });
    const few = ["--canary", "50%", "--canary-interval", "3s", "--min-samples", "100000"];
    await redeploy(platform, folder, name, says("new", `/${name}`), ...few);
    await asserted(async () => expect((await statusOf(name)).phase).toBe("holding"));
    /** Requests to both sides that every router answers, one after the other. */
    const callEach = async (routers: readonly string[], times: number): Promise<void> => {
      for (const router of routers)
        for (let at = 0; at < times; at++) expect((await fetch(`${router}/${name}`)).status).toBe(200);
    };
    const scaleTo = async (replicas: number): Promise<string[]> => {
      await kube.patch(DEPLOYMENTS, { namespace, name: "isotope-router" }, { spec: { replicas } });
      return asserted(async () => {
        const routers = await platform.routers();
        expect(routers).toHaveLength(replicas);
        for (const router of routers) expect((await fetch(`${router}/readyz`)).status).toBe(200);
        return routers;
      });
    };
    const { spec } = await kube.get(DEPLOYMENTS, { namespace, name: "isotope-router" });
    const inStep = async (): Promise<number> => {
      const { counts } = await statusOf(name);
      return (counts?.old.requests ?? 0) + (counts?.new.requests ?? 0);
    };
    // Of those that were killed before some may still be starting.
    const first = await scaleTo(spec.replicas ?? 1);
    try {
      // A version's first requests are no measure of it.
      await callEach(first, 200);
      await asserted(async () => expect((await statusOf(name)).counts?.new.requests).toBeGreaterThan(0));
      const settled = () =>
        asserted(async () => {
          const before = (await statusOf(name)).readAt;
          const counted = await inStep();
          await asserted(async () => expect((await statusOf(name)).readAt).not.toBe(before));
          expect(await inStep()).toBe(counted);
          return counted;
        });
      const start = await settled();
      const more = await scaleTo(first.length + 1);
      await callEach(more, 100);
      await asserted(async () => expect(await inStep()).toBe(start + 100 * more.length));
      const fewer = await scaleTo(first.length);
      await callEach(fewer, 100);
      await asserted(async () => expect(await inStep()).toBe(start + 100 * (more.length + fewer.length)));
    } finally {
      await scaleTo(first.length);
    }
  }, 400_000);
