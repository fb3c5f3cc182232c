/**
 * A platform with many functions: 2,000 Functions with a route each, and 200 environments without a pool. How long until all are ready,
 * what that costs, what the processes hold then, and what a first call of one of them takes, whose pod is made for it. All is removed again.
 * Usage: node test/bench/many-objects.ts [--functions 2000] [--environments 200] [--settle-seconds 20]
 */
import { parseArgs } from "node:util";
import { createKubeClient } from "../../kube/client.ts";
import { ENVIRONMENTS, FUNCTIONS, HTTP_TRIGGERS, PACKAGES } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import { writeZip } from "../../net/archive/write-zip.ts";
import { type Part, sleep, startBenchPlatform } from "./bench-platform.ts";
import { cpuTime, memory, mib, totalMs } from "./process-usage.ts";
import { printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({
  options: {
    functions: { type: "string", default: "2000" },
    environments: { type: "string", default: "200" },
    "settle-seconds": { type: "string", default: "20" },
  },
});
const functions = Number(values.functions);
const environments = Number(values.environments);
const settleMs = Number(values["settle-seconds"]) * 1000;
const PARALLEL = 16;
const TIMEOUT_MS = 300_000;

printConditions(
  `${functions} functions with a route each, ${environments} environments with poolsize 0 and a package each; written by ${PARALLEL} clients at once`,
);
const platform = await startBenchPlatform();
const { namespace } = platform;
const kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
const caller = timedCaller(1);

const meta = (name: string) => ({ apiVersion: "fission.io/v1" as const, metadata: { name, namespace } });
const ref = (name: string) => ({ name, namespace });
const environmentOf = (at: number): string => `many-env-${at % environments}`;
/** Runs `make` for 0 … count - 1. */
async function inParallel(count: number, make: (at: number) => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      while (next < count) await make(next++);
    }),
  );
  return performance.now() - beganMs;
}
const isReady = (object: KubeObject): boolean => {
  const { status } = object as { status?: { conditions?: { type: string; status: string }[] } };
  return status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") ?? false;
};
/** Milliseconds since `fromMs` until `count` objects of a kind are ready, looked at four times a second; and their bytes. */
async function allReady(type: ResourceType, count: number, fromMs: number) {
  for (;;) {
    const { items } = await kube.list(type, { namespace });
    const many = items.filter(({ metadata }) => metadata.name.startsWith("many-"));
    const ready = many.filter(isReady).length;
    const ms = performance.now() - fromMs;
    if (ready === count) return { ms, bytes: JSON.stringify(many).length };
    if (ms > TIMEOUT_MS) throw new Error(`${ready} of ${count} ${type.plural} are ready after ${ms} ms`);
    await sleep(250);
  }
}
interface Holding {
  readonly rssKib: number;
  readonly workingSetKib: number;
  readonly cpuMs: number;
}
async function holdings(): Promise<Map<Part, Holding>> {
  const found = new Map<Part, Holding>();
  const none: Holding = { rssKib: 0, workingSetKib: 0, cpuMs: 0 };
  for (const { part, pid } of await platform.processes()) {
    const { rssKib, workingSetKib, cpuMs } = found.get(part) ?? none;
    found.set(part, {
      rssKib: rssKib + memory(pid).rssKib,
      workingSetKib,
      cpuMs: cpuMs + totalMs(cpuTime(pid)),
    });
  }
  for (const { part, kib } of await platform.workingSets()) {
    const known = found.get(part) ?? none;
    found.set(part, { ...known, workingSetKib: known.workingSetKib + kib });
  }
  return found;
}

try {
  const sample = await kube.get(ENVIRONMENTS, ref("deno"));
  const archive = async (at: number): Promise<string> =>
    (
      await writeZip([
        { path: "index.mjs", bytes: Buffer.from(`export default () => new Response("many ${at}");\n`) },
      ])
    ).toString("base64");
  await platform.poolFull();
  await sleep(settleMs);
  const before = await holdings();

  const beganMs = performance.now();
  const environmentsMs = await inParallel(environments, (at) =>
    kube.create(ENVIRONMENTS, {
      ...meta(environmentOf(at)),
      kind: "Environment" as const,
      ...(sample.metadata.annotations
        ? { metadata: { ...ref(environmentOf(at)), annotations: sample.metadata.annotations } }
        : {}),
      spec: { ...sample.spec, poolsize: 0 },
    }),
  );
  await inParallel(environments, async (at) =>
    kube.create(PACKAGES, {
      ...meta(environmentOf(at)),
      kind: "Package" as const,
      spec: {
        environment: ref(environmentOf(at)),
        deployment: { type: "literal", literal: await archive(at) },
      },
    }),
  );
  const environmentsReady = await allReady(ENVIRONMENTS, environments, beganMs);
  const functionsBeganMs = performance.now();
  const functionsMs = await inParallel(functions, async (at) => {
    const name = `many-${at}`;
    await kube.create(FUNCTIONS, {
      ...meta(name),
      kind: "Function" as const,
      spec: {
        environment: ref(environmentOf(at)),
        package: { packageref: ref(environmentOf(at)), functionName: "" },
        InvokeStrategy: { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "poolmgr" } },
        requestsPerPod: 100,
      },
    });
    await kube.create(HTTP_TRIGGERS, {
      ...meta(name),
      kind: "HTTPTrigger" as const,
      spec: { relativeurl: `/many/${at}`, methods: ["GET"], functionref: { type: "name", name } },
    });
  });
  const functionsReady = await allReady(FUNCTIONS, functions, functionsBeganMs);
  const routesReady = await allReady(HTTP_TRIGGERS, functions, functionsBeganMs);
  await sleep(settleMs);
  const during = await holdings();

  const url = `${platform.connection.routerUrl}/many/${functions - 1}`;
  const first = await caller.get(url);
  const second = await caller.get(url);

  const seconds = (ms: number): string => (ms / 1000).toFixed(1);
  const kib = (bytes: number, count: number): string => (bytes / count / 1024).toFixed(2);
  printTable([
    ["objects", "written in s", "all ready after s", "KiB of JSON each"],
    [
      `${environments} environments`,
      seconds(environmentsMs),
      seconds(environmentsReady.ms),
      kib(environmentsReady.bytes, environments),
    ],
    [
      `${functions} functions`,
      seconds(functionsMs),
      seconds(functionsReady.ms),
      kib(functionsReady.bytes, functions),
    ],
    [`${functions} routes`, "with them", seconds(routesReady.ms), kib(routesReady.bytes, functions)],
  ]);
  console.log(
    `\nfirst call of one (its pod is made for it): ${first.status} after ${first.ms.toFixed(0)} ms; second: ${second.status} after ${second.ms.toFixed(1)} ms\n`,
  );
  const removeBeganMs = performance.now();
  for (const type of [HTTP_TRIGGERS, FUNCTIONS, PACKAGES, ENVIRONMENTS])
    await kube.deleteCollection(type, { namespace });
  while ((await kube.list(FUNCTIONS, { namespace })).items.length > 0) {
    if (performance.now() - removeBeganMs > TIMEOUT_MS) throw new Error("The functions did not go away");
    await sleep(250);
  }
  console.log(`all removed after ${seconds(performance.now() - removeBeganMs)} s\n`);
  await sleep(settleMs);
  const after = await holdings();
  const cell = (value: number | undefined): string => (value ? mib(value) : "-");
  printTable([
    ["MiB", "RSS before", "RSS with all", "RSS after", "working set before", "with all", "after", "CPU s"],
    ...platform.controlPlane
      .filter((part) => before.has(part))
      .map((part) => {
        const three = [before, during, after].map((of) => of.get(part));
        return [
          part,
          ...three.map((one) => cell(one?.rssKib)),
          ...three.map((one) => cell(one?.workingSetKib)),
          seconds((three[1]?.cpuMs ?? 0) - (three[0]?.cpuMs ?? 0)),
        ];
      }),
  ]);
} finally {
  caller.close();
  await kube.close();
  await platform.stop();
}
printLoadAfter();
