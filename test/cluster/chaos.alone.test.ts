import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Function as FunctionObject, HTTPTrigger } from "../../api/kinds/index.ts";
import { LABEL_FUNCTION_NAME } from "../../api/names.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { type Deployment, DEPLOYMENTS, type Pod, PODS } from "../../kube/core.ts";
import { FUNCTIONS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { runCommand } from "../../scripts/images/run-command.ts";
import { startTestPlatform } from "../e2e/platform.ts";
import { deploy } from "../e2e/project.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";
import { killEach } from "../kill-each.ts";
import { procEntry } from "../proc-entry.ts";
import { type Cluster, currentCluster } from "./cluster.ts";
import { podProcesses } from "./pod-processes.ts";
import { deploySteadyEvents, type EventsPace, startEvents } from "./steady-events.ts";
import { deploySteadyRuns, startRuns } from "./steady-runs.ts";
import {
  get,
  startTraffic,
  type TrafficOptions,
  type TrafficReport,
  whileRefused,
} from "./steady-traffic.ts";

/**
 * Parts of the platform go away while functions are called all the time. Warm: called at a fixed rate by a keep-alive client (what it
 * tries again is said in `steady-traffic.ts`); none may fail. Cold: every few seconds a function that does not run is called; it answers,
 * or says that the platform cannot now (502, 503, 504) and when to come again, and none hangs. Runs of a workflow are begun all the time (`steady-runs.ts`),
 * asynchronous calls are made all the time (`steady-events.ts`): all end well.
 */
const PER_SECOND = 50;
const SETTLE_MS = 1_500;
const COLD_FUNCTIONS = 24;
const COLD_EVERY_MS = 4_000;
const COLD_LIMIT_MS = 90_000;
const RUN_EVERY_MS = 700;
const EVENTS: EventsPace = { everyMs: 500, waitMs: 50 };
/** Many are being delivered at any moment. */
const DENSE_EVENTS: EventsPace = { everyMs: 100, waitMs: 2_000 };
const READY_MS = 180_000;
const OUTAGE_MS = 30_000;
const TEST_MS = 600_000;
const POLL_MS = 250;
const WARM = ["warm-auto", "warm-pool"] as const;
const COMPONENTS = [
  "router",
  "executor",
  "controller",
  "storage",
  "log-store",
  "workflows",
  "triggers",
] as const;
type FunctionSpec = FunctionObject["spec"];
type TriggerSpec = HTTPTrigger["spec"];
type Component = (typeof COMPONENTS)[number];

/** Reads until it is accepted. */
async function eventually<T>(
  read: () => Promise<T>,
  accept: (value: T) => boolean,
  withinMs = READY_MS,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await read();
    if (accept(value)) return value;
    if (performance.now() > deadline)
      throw new Error(`Not so within ${withinMs} ms: ${JSON.stringify(value)}`);
    await sleep(POLL_MS);
  }
}

let cluster: Cluster;
let platform: TestPlatform;
let kube: KubeClient;
let home = "";
let cold: string[] = [];
/** Whether there is a Redis, and so a workflow service and a trigger service. */
let withRedis = false;
const NEED_REDIS: readonly Component[] = ["workflows", "triggers"];
const components = (): Component[] => COMPONENTS.filter((name) => withRedis || !NEED_REDIS.includes(name));

const source = (name: string, executor: string, text: string) => `
export const config = { route: "/${platform.namespace}/${name}", executor: "${executor}", idleTimeout: ${name === "cold" ? 15 : 120} };
export default async () => {
  await new Promise((done) => setTimeout(done, 20));
  return new Response("${text}");
};`;
const warm = (text: string) => ({
  "warm-auto.ts": source("warm-auto", "auto", text),
  "warm-pool.ts": source("warm-pool", "poolmgr", text),
});
const url = (name: string) => `${platform.connection.routerUrl}/${platform.namespace}/${name}`;
const call = async (name: string): Promise<string> => {
  const { status, text } = await get(url(name), false, COLD_LIMIT_MS);
  return `${status} ${text}`;
};

beforeAll(async () => {
  cluster = currentCluster();
  platform = await startTestPlatform();
  if (!platform.installed) throw new Error("ISOTOPE_TEST_CLUSTER names no platform");
  home = platform.installed.platformNamespace;
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  await deploy(platform, { ...warm("first"), "cold.ts": source("cold", "auto", "cold") });
  cold = await copies("cold", COLD_FUNCTIONS);
  withRedis = (await podsOf("workflows")).length > 0;
  if (withRedis) {
    await deploySteadyRuns(platform);
    await deploySteadyEvents(platform);
  }
  for (const name of WARM) await eventually(() => call(name), isFirst);
}, READY_MS * 2);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
}, READY_MS);
const isFirst = (answer: string) => answer === "200 first";

/** Further functions of the same package, each with a route. */
async function copies(name: string, count: number): Promise<string[]> {
  const { namespace } = platform;
  const { spec } = await kube.get(FUNCTIONS, { namespace, name });
  const [trigger] = (await kube.list(HTTP_TRIGGERS, { namespace })).items.filter(
    (one) => one.spec.functionref.type === "name" && one.spec.functionref.name === name,
  );
  if (!trigger) throw new Error(`"${name}" has no route`);
  const names = Array.from({ length: count }, (_, at) => `${name}-${at}`);
  await Promise.all(names.map((copy) => copyOf(copy, spec, trigger.spec)));
  const admitted = async () =>
    (await kube.list(HTTP_TRIGGERS, { namespace })).items.filter((one) =>
      one.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
    ).length;
  await eventually(admitted, (ready) => ready >= count + 1);
  return names;
}

async function copyOf(name: string, spec: FunctionSpec, route: TriggerSpec): Promise<void> {
  const { namespace } = platform;
  const apiVersion = "fission.io/v1";
  await kube.create(FUNCTIONS, { apiVersion, kind: "Function", metadata: { namespace, name }, spec });
  await kube.create(HTTP_TRIGGERS, {
    apiVersion,
    kind: "HTTPTrigger",
    metadata: { namespace, name },
    spec: { ...route, functionref: { type: "name", name }, relativeurl: `/${namespace}/${name}` },
  });
}

/** What became of one call of a function that did not run. */
interface ColdCall {
  readonly name: string;
  readonly outcome: string;
}

/**
 * Calls functions that do not run, one after the other, until told to stop; resolves when all have ended. What met a closed port is sent
 * again with `retryRefused`, as the warm calls are.
 */
function callColdOnes(retryRefused: boolean): () => Promise<ColdCall[]> {
  const calls: Promise<ColdCall>[] = [];
  const one = async (name: string): Promise<ColdCall> => {
    try {
      const send = () => get(url(name), false, COLD_LIMIT_MS);
      const { status, text, headers } = await (retryRefused ? whileRefused(send, () => undefined) : send());
      const retryAfter = headers["retry-after"] === undefined ? "" : ", Retry-After";
      return { name, outcome: status === 200 ? `200 ${text}` : `${status}${retryAfter}: ${text}` };
    } catch (error) {
      return { name, outcome: String(error) };
    }
  };
  const next = () => {
    const name = cold.shift();
    if (name === undefined) return;
    calls.push(one(name));
    // It is idle for longer than its pod is kept before its turn comes again.
    cold.push(name);
  };
  next();
  const timer = setInterval(next, COLD_EVERY_MS);
  return async () => {
    clearInterval(timer);
    return Promise.all(calls);
  };
}

/** Warm and cold calls while `work` is done and until things have settled. Cold ones are checked here. */
async function underTraffic(
  work: () => Promise<void>,
  options: Partial<TrafficOptions> = {},
  pace: EventsPace = EVENTS,
): Promise<TrafficReport> {
  const traffic = startTraffic({
    origin: platform.connection.routerUrl,
    paths: WARM.map((name) => `/${platform.namespace}/${name}`),
    perSecond: PER_SECOND,
    ...options,
  });
  const stopCold = callColdOnes(options.retryRefused === true);
  const stopRuns = withRedis ? startRuns(platform, RUN_EVERY_MS) : undefined;
  const stopEvents = withRedis ? startEvents(platform, pace) : undefined;
  try {
    await sleep(SETTLE_MS);
    await work();
    await sleep(SETTLE_MS);
  } finally {
    await traffic.stop();
  }
  const report = await traffic.stop();
  const coldCalls = await stopCold();
  const runs = await stopRuns?.();
  const events = await stopEvents?.();
  const answered = coldCalls.filter(({ outcome }) => outcome.startsWith("200")).length;
  process.stderr.write(
    `${expect.getState().currentTestName}: ${report.calls} warm calls, ${report.failures.length} failed, ${report.retried} sent again, slowest ${report.slowestMs} ms; ${coldCalls.length} cold calls, ${answered} answered${runs ? `; ${runs.runs} runs, ${runs.sentAgain} starts sent again, slowest ${runs.slowestMs} ms` : ""}${events ? `; ${events.accepted} asynchronous calls, ${events.sentAgain} sent again, ${events.repeated} delivered again` : ""}\n`,
  );
  for (const [why, times] of reasonsOf(report.failures)) process.stderr.write(`  ${times} failed: ${why}\n`);
  expect(runs?.faults ?? []).toEqual([]);
  expect(events?.faults ?? []).toEqual([]);
  expect(coldCalls.length).toBeGreaterThan(0);
  // Where a router dies, what it held is cut off, as with warm calls.
  const allowed = options.retryRefused
    ? /^(200 cold$|50[234], Retry-After|Error: (ECONNRESET|EPIPE))/
    : /^(200 cold$|50[234], Retry-After)/;
  expect(coldCalls.filter(({ outcome }) => !allowed.test(outcome))).toEqual([]);
  return report;
}

/** Failures by what they say, without their times, with how often each came. */
const reasonsOf = (failures: readonly string[]): Map<string, number> => {
  const found = new Map<string, number>();
  for (const failure of failures) {
    const why = failure.replace(/^\d+ ms /, "").replace(/"requestId":"[^"]*"/, "");
    found.set(why, (found.get(why) ?? 0) + 1);
  }
  return found;
};

const podsOf = async (component: string): Promise<Pod[]> =>
  (
    await kube.list(PODS, {
      namespace: home,
      labelSelector: `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${component}`,
    })
  ).items;
const isReady = (pod: Pod) =>
  pod.metadata.deletionTimestamp === undefined &&
  pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;

interface DeploymentStatus {
  readonly observedGeneration?: number;
  readonly updatedReplicas?: number;
  readonly availableReplicas?: number;
}
const deploymentOf = async (component: string): Promise<Deployment & { status?: DeploymentStatus }> => {
  const [found] = (
    await kube.list(DEPLOYMENTS, {
      namespace: home,
      labelSelector: `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${component}`,
    })
  ).items;
  if (!found) throw new Error(`No Deployment of "${component}" in namespace "${home}"`);
  return found;
};

/** Waits until a component has all its pods, of the newest template, and none that still ends. */
async function settled(component: string): Promise<void> {
  const state = async () => {
    const { metadata, spec, status } = await deploymentOf(component);
    const pods = await podsOf(component);
    const wanted = spec.replicas ?? 1;
    const whole =
      status?.observedGeneration === metadata.generation &&
      status?.updatedReplicas === wanted &&
      status?.availableReplicas === wanted &&
      pods.length === wanted &&
      pods.every(isReady);
    return whole ? "settled" : pods.map((pod) => `${pod.metadata.name} ${pod.status?.phase}`).join(", ");
  };
  // An API server that has just begun may refuse a while.
  await eventually(
    () => state().catch(String),
    (said) => said === "settled",
  );
}

const upgrade = (values: readonly string[]) =>
  runCommand(cluster.helm, [
    "upgrade",
    "isotope",
    "charts/isotope",
    "--namespace",
    home,
    "--reuse-values",
    "--wait",
    "--timeout",
    "4m",
    "--kubeconfig",
    cluster.kubeconfig,
    ...values.flatMap((value) => ["--set", value]),
  ]);

it("an upgrade that replaces every pod of the platform fails no call", { timeout: TEST_MS }, async () => {
  const parts = ["router", "executor", "controller", "storage", "logs", "redis", "workflows", "triggers"];
  const before = new Set(
    (await Promise.all(components().map(podsOf))).flat().map(({ metadata }) => metadata.uid),
  );
  const { failures } = await underTraffic(async () => {
    await upgrade(parts.map((part) => `${part}.podAnnotations.chaos=at-${Date.now()}`));
    for (const component of components()) await settled(component);
  });
  const kept = (await Promise.all(components().map(podsOf)))
    .flat()
    .filter(({ metadata }) => before.has(metadata.uid));
  expect(kept.map(({ metadata }) => metadata.name)).toEqual([]);
  expect(failures).toEqual([]);
});

it("a new revision of a function takes over without a failed call", { timeout: TEST_MS }, async () => {
  const { failures, answers } = await underTraffic(async () => {
    await deploy(platform, warm("second"));
    for (const name of WARM)
      await eventually(
        () => call(name),
        (answer) => answer === "200 second",
      );
  });
  expect(failures).toEqual([]);
  expect([...answers.keys()].toSorted()).toEqual(["first", "second"]);
});

describe("the end of a pod in order (SIGTERM) fails no call", () => {
  it.each(COMPONENTS)("of %s", { timeout: TEST_MS }, async (component) => {
    if (!components().includes(component)) return;
    const { failures } = await underTraffic(
      async () => {
        // Of trigger pods all: what they deliver is given back, and waits for those that come.
        const pods = (await podsOf(component)).slice(0, component === "triggers" ? undefined : 1);
        expect(pods).not.toEqual([]);
        await Promise.all(
          pods.map(({ metadata }) => kube.delete(PODS, { namespace: home, name: metadata.name })),
        );
        await settled(component);
      },
      {},
      component === "triggers" ? DENSE_EVENTS : EVENTS,
    );
    expect(failures).toEqual([]);
  });
});

const NO_REDIS = "no Redis is installed on this machine";
/** What runs definitions: hosts, or the launchers that start them. */
const hostProcesses = async (program: "deno" | "definition-host"): Promise<number[]> =>
  (await podsOf("workflows"))
    .flatMap(({ metadata }) => podProcesses(metadata.uid ?? "none"))
    .filter((pid) => procEntry(pid, "cmdline").includes(program));
const killAll = (pids: readonly number[]): boolean => {
  killEach(pids);
  return pids.length > 0;
};

const restartsOf = (pod: Pod): number => pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
const killed = async (component: Component, pods: readonly Pod[]): Promise<void> => {
  const before = new Map((await podsOf(component)).map((pod) => [pod.metadata.uid, restartsOf(pod)]));
  for (const pod of pods) {
    const pids = podProcesses(pod.metadata.uid ?? "none");
    expect(pids).not.toEqual([]);
    killEach(pids);
  }
  await eventually(
    async () => (await podsOf(component)).map((pod) => restartsOf(pod) - (before.get(pod.metadata.uid) ?? 0)),
    (restarts) => restarts.filter((count) => count > 0).length >= pods.length,
  );
  await settled(component);
};

/** A function that sends one command to the Redis of functions and answers what that said, in one line. */
const redisCommands = () => `
export const config = { route: "/${platform.namespace}/redis", env: { REDIS_URL: { secret: "redis", key: "url" } } };
export default async (request: Request) => {
  const { username, password, hostname, port } = new URL(Deno.env.get("REDIS_URL"));
  const socket = await Deno.connect({ hostname, port: Number(port) });
  const lines = ["AUTH " + username + " " + password, new URL(request.url).searchParams.get("command"), "QUIT"];
  await socket.write(new TextEncoder().encode(lines.join("\\r\\n") + "\\r\\n"));
  const [, ...said] = (await new Response(socket.readable).text()).trim().split("\\r\\n");
  return new Response(said.slice(0, -1).join(" "));
};`;
const redis = async (command: string): Promise<string> =>
  (await get(`${url("redis")}?command=${encodeURIComponent(command)}`, false, COLD_LIMIT_MS)).text;

describe.skipIf(!currentCluster().own)("without notice", () => {
  it("all executors die (SIGKILL): no call fails, no warm pod is lost", { timeout: TEST_MS }, async () => {
    const podsFor = async (name: string) =>
      (
        await kube.list(PODS, {
          namespace: platform.namespace,
          labelSelector: `${LABEL_FUNCTION_NAME}=${name}`,
        })
      ).items
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .map(({ metadata }) => metadata.name);
    const before = await Promise.all(WARM.map(podsFor));
    const { failures } = await underTraffic(async () => killed("executor", await podsOf("executor")));
    expect(failures).toEqual([]);
    const after = (await Promise.all(WARM.map(podsFor))).flat();
    for (const pods of before) expect(pods.filter((pod) => after.includes(pod))).not.toEqual([]);
  });

  it("a router dies (SIGKILL): nothing is lost but what it held", { timeout: TEST_MS }, async () => {
    const connections = 16;
    const { failures } = await underTraffic(
      async () => killed("router", (await podsOf("router")).slice(0, 1)),
      { connections, retryRefused: true },
    );
    // One request per connection at most, cut off; none is answered with an error.
    expect(failures.length).toBeLessThanOrEqual(connections);
    expect(failures.filter((failure) => !/ECONNRESET|EPIPE/.test(failure))).toEqual([]);
  });

  it("all workflow pods die (SIGKILL): every run goes on", { timeout: TEST_MS }, async ({ skip }) => {
    skip(!withRedis, NO_REDIS);
    const pods = await podsOf("workflows");
    const { failures } = await underTraffic(async () => {
      await sleep(SETTLE_MS);
      await killed("workflows", pods);
    });
    expect(failures).toEqual([]);
  });

  it("all trigger pods die (SIGKILL): every asynchronous call is delivered", {
    timeout: TEST_MS,
  }, async ({ skip }) => {
    skip(!withRedis, NO_REDIS);
    const pods = await podsOf("triggers");
    const { failures } = await underTraffic(
      async () => {
        await sleep(SETTLE_MS);
        await killed("triggers", pods);
      },
      {},
      DENSE_EVENTS,
    );
    expect(failures).toEqual([]);
  });

  it("definition hosts die, and what starts them (SIGKILL): every run goes on", { timeout: TEST_MS }, async ({
    skip,
  }) => {
    skip(!withRedis, NO_REDIS);
    const { failures } = await underTraffic(async () => {
      await eventually(() => hostProcesses("deno"), killAll);
      await sleep(SETTLE_MS);
      await eventually(() => hostProcesses("definition-host"), killAll);
      await settled("workflows");
    });
    expect(failures).toEqual([]);
  });

  it("Redis restarts: no call fails, and it knows what it knew", { timeout: TEST_MS }, async ({ skip }) => {
    const [pod] = await podsOf("redis");
    if (!pod) {
      skip(NO_REDIS);
      return;
    }
    await deploy(platform, { "redis.ts": redisCommands() });
    const key = `app:chaos:${Date.now()}`;
    const kept = Array.from({ length: 20 }, (_, at) => `${key}:${at}`);
    await eventually(
      () => redis("PING"),
      (said) => said === "+PONG",
    );
    for (const [at, name] of kept.entries()) expect(await redis(`SET ${name} value-${at}`)).toBe("+OK");
    const { failures } = await underTraffic(async () => {
      await kube.delete(PODS, { namespace: home, name: pod.metadata.name });
      await eventually(
        () => podsOf("redis"),
        ([next]) => next !== undefined && next.metadata.uid !== pod.metadata.uid && isReady(next),
      );
    });
    expect(failures).toEqual([]);
    await eventually(
      () => redis("PING"),
      (said) => said === "+PONG",
    );
    for (const [at, name] of kept.entries())
      expect(await redis(`GET ${name}`)).toBe(`$${`value-${at}`.length} value-${at}`);
  });

  it("the Kubernetes API is away for 30 s: no call fails", { timeout: TEST_MS }, async () => {
    const { failures } = await underTraffic(async () => {
      await cluster.stopPart("apiserver", "SIGKILL");
      await sleep(OUTAGE_MS);
      cluster.startPart("apiserver");
      await eventually(
        () =>
          Promise.all([
            kube.list(PODS, { namespace: home }),
            kube.list(DEPLOYMENTS, { namespace: home }),
          ]).then(
            () => true,
            () => false,
          ),
        Boolean,
      );
      for (const component of components()) await settled(component);
    });
    expect(failures).toEqual([]);
    await deploy(platform, { "after.ts": source("after", "auto", "after") });
    await eventually(
      () => call("after"),
      (answer) => answer === "200 after",
    );
  });
});
