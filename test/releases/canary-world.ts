import { afterAll, afterEach, beforeAll } from "vitest";
import type { CanaryConfig, CanaryConfigSpec } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND, API_GROUP_VERSION } from "../../api/names.ts";
import type { Warmth } from "../../controller/canary/decide.ts";
import { routerCounters } from "../../controller/canary/router-counters.ts";
import type { KubeClient } from "../../kube/client.ts";
import { EVENTS, type KubeEvent } from "../../kube/core.ts";
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
  type KubeServer,
  MemoryArchives,
  type RunningController,
  runController,
  startKube,
} from "../controller/platform.ts";
import { type Behaviour, type FakeRouter, startFakeRouter } from "./fake-router.ts";
import { eventually } from "../eventually.ts";

export interface SideIdentity {
  readonly name: string;
  readonly uid: string;
  readonly revision: string;
}
/** A canary with what it is between. */
export interface Setup {
  readonly canary: string;
  readonly old: SideIdentity;
  readonly new: SideIdentity;
  /** Share of the new side in percent, as the router would read it. */
  readonly weight: () => Promise<number>;
}

export const at = (name: string) => ({ namespace: "default", name });
/** Two short steps. */
export const QUICK = { steps: [10, 50].map((weight) => ({ weight, duration: "250ms" })) };

/** A controller on a Kubernetes API, whose canaries see the traffic of a router's far side; for the test file that calls it. */
export interface CanaryWorld {
  readonly client: KubeClient;
  readonly router: FakeRouter;
  /** Pods that were asked for, of the present test. */
  readonly warmed: { name: string; pods: number }[];
  /** What the executor says to that, in the present test. */
  warmth: Warmth;
  /** Is called with each patch before the controller sends it, in the present test. */
  beforePatch: ((body: unknown) => Promise<void>) | undefined;
  stopController(): Promise<void>;
  startController(): void;
  deploy(name: string, code: string): Promise<SideIdentity>;
  byWeights(spec: Partial<CanaryConfigSpec>): Promise<Setup>;
  byAlias(spec: Partial<CanaryConfigSpec>): Promise<Setup>;
  /** The events of a canary, once there is one for that reason. */
  eventsOf(canary: string, reason: string): Promise<KubeEvent[]>;
  /** Another code of the function, published. */
  publishNext(name: string): Promise<SideIdentity>;
  /** Requests to both sides by the weights that stand in the route, until the test has ended. */
  traffic(setup: Setup, behaviour: () => Behaviour, perTick?: number): void;
  get(name: string): Promise<CanaryConfig>;
  ended(name: string, status: string): Promise<CanaryConfig>;
  inPhase(name: string, phase: string): Promise<CanaryConfig>;
  command(name: string, word: string): Promise<unknown>;
}

export const canaryOf = (name: string, spec: CanaryConfigSpec): CanaryConfig => ({
  apiVersion: API_GROUP_VERSION,
  kind: "CanaryConfig",
  metadata: at(name),
  spec,
});

/** To be called at the top of a test file: it is started and stopped with the file. */
export function canaryWorld(): CanaryWorld {
  const keys = keyRing(["canary-test-key-canary-test-key-0123456789"]);
  const archives = new MemoryArchives();
  let kube: KubeServer;
  let router: FakeRouter;
  let counters: ReturnType<typeof routerCounters>;
  let running: RunningController;
  let warmth: Warmth = "ready";
  const warmed: { name: string; pods: number }[] = [];
  let stopTraffic: (() => void) | undefined;
  let serial = 0;

  let beforePatch: CanaryWorld["beforePatch"];
  /** The controller's, whose patches the present test may see before they are sent. */
  const watched = (client: KubeClient): KubeClient => ({
    ...client,
    patch: async (type, ref, body, options) => {
      await beforePatch?.(body);
      return client.patch(type, ref, body, options);
    },
  });

  const start = () =>
    runController(watched(kube.client), {
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
    warmed.length = 0;
    warmth = "ready";
    beforePatch = undefined;
  });
  afterAll(async () => {
    await running.controller.stop();
    await counters.close();
    await router.stop();
    await kube.stop();
  });

  const deploy = async (name: string, code: string): Promise<SideIdentity> => {
    await kube.client.create(PACKAGES, literalPackage(name, code));
    await kube.client.create(FUNCTIONS, fn(name, { package: { packageref: at(name), functionName: "" } }));
    const live = await eventually(
      () => kube.client.get(FUNCTIONS, at(name)),
      ({ status }) => status?.serving !== undefined,
    );
    return { name, uid: live.metadata.uid ?? "", revision: live.status?.serving?.revision ?? "" };
  };

  const byWeights = async (spec: Partial<CanaryConfigSpec>): Promise<Setup> => {
    const name = `shop${(serial += 1)}`;
    const [old, next] = [await deploy(`${name}-a`, `${name} a`), await deploy(`${name}-b`, `${name} b`)];
    const functionweights = { [next.name]: 0, [old.name]: 100 };
    await kube.client.create(
      HTTP_TRIGGERS,
      trigger(name, `/${name}`, {
        functionref: { type: "function-weights", name: old.name, functionweights },
      }),
    );
    const sides = { trigger: name, newfunction: next.name, oldfunction: old.name };
    await kube.client.create(CANARY_CONFIGS, canaryOf(name, { ...sides, minSamples: 50, ...spec }));
    const weight = async () =>
      (await kube.client.get(HTTP_TRIGGERS, at(name))).spec.functionref.functionweights?.[next.name] ?? 0;
    return { canary: name, old, new: next, weight };
  };

  const publish = async (name: string): Promise<SideIdentity> => {
    const live = await kube.client.get(FUNCTIONS, at(name));
    const { version } = await publishVersion(kube.client, live, { now: new Date() });
    return {
      name: version.metadata.name,
      uid: live.metadata.uid ?? "",
      revision: live.status?.serving?.revision ?? "",
    };
  };
  const publishNext = async (name: string): Promise<SideIdentity> => {
    const before = (await kube.client.get(FUNCTIONS, at(name))).status?.serving?.revision;
    const literal = Buffer.from(`${name} ${(serial += 1)}`).toString("base64");
    await kube.client.patch(PACKAGES, at(name), { spec: { deployment: { type: "literal", literal } } });
    await eventually(
      () => kube.client.get(FUNCTIONS, at(name)),
      ({ status }) => status?.serving !== undefined && status.serving.revision !== before,
    );
    return publish(name);
  };

  const byAlias = async (spec: Partial<CanaryConfigSpec>): Promise<Setup> => {
    const name = `alias${(serial += 1)}`;
    await deploy(name, `${name} one`);
    const old = await publish(name);
    const next = await publishNext(name);
    await kube.client.create(FUNCTION_ALIASES, {
      apiVersion: API_GROUP_VERSION,
      kind: "FunctionAlias",
      metadata: at(name),
      spec: { functionName: name, version: old.name },
    });
    await kube.client.create(
      HTTP_TRIGGERS,
      trigger(name, `/${name}`, { functionref: { type: "name", name, alias: name } }),
    );
    const sides = { trigger: name, newfunction: next.name, oldfunction: old.name };
    await kube.client.create(CANARY_CONFIGS, canaryOf(name, { ...sides, minSamples: 50, ...spec }));
    const weight = async () => {
      const alias = await kube.client.get(FUNCTION_ALIASES, at(name));
      return alias.spec.version === next.name ? 100 : 100 - (alias.spec.weight ?? 100);
    };
    return { canary: name, old, new: next, weight };
  };

  const get = (name: string) => kube.client.get(CANARY_CONFIGS, at(name));
  return {
    get client() {
      return kube.client;
    },
    get router() {
      return router;
    },
    warmed,
    get warmth() {
      return warmth;
    },
    set warmth(next) {
      warmth = next;
    },
    get beforePatch() {
      return beforePatch;
    },
    set beforePatch(next) {
      beforePatch = next;
    },
    eventsOf: async (canary, reason) =>
      eventually(
        async () =>
          (await kube.client.list(EVENTS, { namespace: "default" })).items.filter(
            ({ involvedObject }) => involvedObject.name === canary,
          ),
        (events) => events.some((event) => event.reason === reason),
      ),
    stopController: () => running.controller.stop(),
    startController: () => {
      running = start();
    },
    deploy,
    byWeights,
    byAlias,
    publishNext,
    traffic: (setup, behaviour, perTick = 60) => {
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
    },
    get,
    ended: (name, status) =>
      eventually(
        () => get(name),
        (canary) => canary.status?.status === status && canary.status.applied === true,
      ),
    inPhase: (name, phase) =>
      eventually(
        () => get(name),
        ({ status }) => status?.phase === phase && status.applied === true,
      ),
    command: (name, word) =>
      kube.client.patch(CANARY_CONFIGS, at(name), {
        metadata: { annotations: { [ANNOTATION_CANARY_COMMAND]: word } },
      }),
  };
}
