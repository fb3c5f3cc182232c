import { randomUUID } from "node:crypto";
import { RunView } from "../../../api/wire/workflows.ts";
import { loadKubeConnection } from "../../../kube/connection.ts";
import { type BenchPlatform, type Part, sleep, startBenchPlatform } from "../bench-platform.ts";
import { cpuTime, totalMs } from "../process-usage.ts";
import { printTable } from "../report.ts";
import { STEPS } from "./definitions.ts";

const ADD = `export const config = { requestsPerPod: 100, concurrency: 10 };
export default async (request: Request) => {
  const { n } = await request.json();
  return Response.json({ n: n + 1 });
};
`;
const PARTS: readonly Part[] = ["control plane", "definition host", "redis", "router", "function pod"];
const RUNS = 64;
const EACH = 30;
const START_MS = 60_000;

type Ops = (path: string, body?: unknown) => Promise<{ readonly status: number; readonly body: unknown }>;

async function opsOf(platform: BenchPlatform): Promise<Ops> {
  const kube = await loadKubeConnection({ kubeconfig: platform.connection.kubeconfig });
  const authorization = (await kube.authorization()) ?? "";
  return async (path, body) => {
    const reply = await fetch(`${platform.connection.opsUrl}${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: reply.status, body: await reply.json() };
  };
}

/** Starts a run, as soon as its workflow is ready, and waits for its end. */
async function drive(platform: BenchPlatform, ops: Ops, steps: number): Promise<void> {
  const id = randomUUID();
  const request = { namespace: platform.namespace, workflow: "steps", id, input: { steps } };
  const deadline = performance.now() + START_MS;
  for (;;) {
    const { status, body } = await ops("/v1/runs", request);
    if (status === 201 || status === 200) break;
    if (performance.now() > deadline) throw new Error(`Cannot start a run: ${JSON.stringify(body)}`);
    await sleep(200);
  }
  for (;;) {
    const { body } = await ops(`/v1/runs/${platform.namespace}/${id}/wait?timeoutMs=30000`);
    const run = RunView.parse(body);
    if (run.status === "succeeded") return;
    if (run.status !== "running")
      throw new Error(`Run "${id}" ended as ${run.status}: ${JSON.stringify(run.error)}`);
  }
}

/** By part: ms of processor time of all its processes. */
async function cpuByPart(platform: BenchPlatform): Promise<Map<Part, number>> {
  const used = new Map<Part, number>();
  for (const { part, pid } of await platform.processes())
    if (PARTS.includes(part)) used.set(part, (used.get(part) ?? 0) + totalMs(cpuTime(pid)));
  return used;
}

/** Steps that are calls of a real function: through a router to a Deno pod of a whole local platform. */
export async function benchOnPlatform(): Promise<void> {
  const platform = await startBenchPlatform();
  try {
    const ops = await opsOf(platform);
    await platform.deploy({ "add.ts": ADD, "../workflows/steps.ts": STEPS });
    await drive(platform, ops, 100);
    await platform.poolFull();
    const from = performance.now();
    await drive(platform, ops, 300);
    const alone = (performance.now() - from) / 300;
    await Promise.all(Array.from({ length: RUNS }, () => drive(platform, ops, 3)));
    const before = await cpuByPart(platform);
    const began = performance.now();
    await Promise.all(Array.from({ length: RUNS }, () => drive(platform, ops, EACH)));
    const seconds = (performance.now() - began) / 1_000;
    const after = await cpuByPart(platform);
    const steps = RUNS * EACH;
    const perStep = (part: Part): number =>
      (((after.get(part) ?? 0) - (before.get(part) ?? 0)) * 1_000) / steps;
    const all = PARTS.reduce((sum, part) => sum + perStep(part), 0);
    printTable([
      ["a step that calls a function: router, Deno pod, workflow service in the control plane", "measured"],
      ["one run alone, whole steps, ms", alone.toFixed(2)],
      [`c = ${RUNS}, ${EACH} steps each: steps/s`, String(Math.round(steps / seconds))],
      [
        "CPU per step µs",
        `${Math.round(all)} (${PARTS.map((part) => `${part} ${Math.round(perStep(part))}`).join(", ")})`,
      ],
    ]);
  } finally {
    await platform.stop();
  }
}
