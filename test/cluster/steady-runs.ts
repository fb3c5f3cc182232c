import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { HistoryPage, RunView } from "../../api/wire/workflows.ts";
import { deploy } from "../e2e/project.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";

/**
 * Runs of a workflow that are begun all the time. Each takes some steps with a pause after each, and none may be lost, get stuck, fail, or take a second answer
 * to a step.
 */
const STEPS = 4;
const END_MS = 120_000;
const START_MS = 90_000;
const POLL_MS = 250;
/** Starts that wait for an answer: further ones would be a load of their own. */
const MAX_PENDING = 4;

const STEP = `
export const config = { route: false, requestsPerPod: 50, concurrency: 4, idleTimeout: 120 };
export default async (request) => {
  const { at } = await request.json();
  await new Promise((done) => setTimeout(done, 50));
  return Response.json({ at, call: crypto.randomUUID() });
};`;
const steady = (route: string) => `
import { assign, setup } from "xstate";
import { defineWorkflow, fn } from "@isotope/platform/workflows";
export const config = { route: "${route}" };
const machine = setup({
  types: { context: {} as { answers: { at: number; call: string }[] } },
  actors: { step: fn<{ at: number }, { at: number; call: string }>("steady-step", { retry: { attempts: 20, base: 0.2, cap: 2 } }) },
  guards: { enough: ({ context }) => context.answers.length === ${STEPS} },
}).createMachine({
  id: "steady",
  context: { answers: [] },
  initial: "stepping",
  states: {
    stepping: {
      invoke: {
        id: "step", src: "step", input: ({ context }) => ({ at: context.answers.length }),
        onDone: { target: "resting", actions: assign({ answers: ({ context, event }) => [...context.answers, event.output] }) },
      },
    },
    resting: { always: { guard: "enough", target: "done" }, after: { 400: "stepping" } },
    done: { type: "final" },
  },
  output: ({ context }) => context.answers,
});
export default defineWorkflow({ machine });
`;
const Answer = z.object({ at: z.number(), call: z.string() });

export interface RunsReport {
  readonly runs: number;
  /** Starts that were sent again, under their key. */
  readonly sentAgain: number;
  readonly slowestMs: number;
  /** What is wrong, a line for each; none may be. */
  readonly faults: readonly string[];
}

/** Deploys the workflow and waits until it can be started. */
export async function deploySteadyRuns(platform: TestPlatform): Promise<void> {
  await deploy(platform, {
    "steady-step.ts": STEP,
    "../workflows/steady.ts": steady(routeOf(platform)),
  });
  await begin(platform, "first");
}

/** Begins a run at each interval, until told to stop; then resolves when all have ended. */
export function startRuns(platform: TestPlatform, everyMs: number): () => Promise<RunsReport> {
  const batch = `batch-${Date.now()}`;
  const started: Promise<{ id: string; sentAgain: number }>[] = [];
  let pending = 0;
  const next = (): void => {
    if (pending >= MAX_PENDING) return;
    pending++;
    const one = begin(platform, `${batch}-${started.length}`);
    started.push(one);
    const over = (): void => void pending--;
    one.then(over, over);
  };
  next();
  const timer = setInterval(next, everyMs);
  return async () => {
    clearInterval(timer);
    const begun = await Promise.allSettled(started);
    const faults: string[] = begun.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
    const runs = begun.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const ended = await Promise.all(
      runs.map(({ id }) =>
        ending(platform, id).catch((error: unknown) => void faults.push(`${id}: ${String(error)}`)),
      ),
    );
    let slowestMs = 0;
    for (const run of ended) {
      if (!run) continue;
      slowestMs = Math.max(slowestMs, Date.parse(run.finishedAt ?? "") - Date.parse(run.startedAt));
      faults.push(...(await faultsOf(platform, run)));
    }
    return {
      runs: runs.length,
      sentAgain: runs.reduce((sum, { sentAgain }) => sum + sentAgain, 0),
      slowestMs,
      faults,
    };
  };
}

const routeOf = ({ namespace }: TestPlatform): string => `/${namespace}/steady`;

/** Starts a run through the router; what is refused or cut off is sent again under the same key. */
async function begin(platform: TestPlatform, key: string): Promise<{ id: string; sentAgain: number }> {
  const deadline = performance.now() + START_MS;
  for (let sentAgain = 0; ; sentAgain++) {
    let said: string;
    try {
      const reply = await platform.get(routeOf(platform), {
        method: "POST",
        headers: { "idempotency-key": key, "content-type": "application/json" },
        body: "{}",
        signal: AbortSignal.timeout(30_000),
      });
      said = `${reply.status} ${await reply.text()}`;
      if (reply.status === 202 || reply.status === 200)
        return {
          id: z.object({ run: z.object({ id: z.string() }) }).parse(JSON.parse(said.slice(4))).run.id,
          sentAgain,
        };
    } catch (error) {
      said = String(error);
    }
    if (performance.now() > deadline) throw new Error(`Run "${key}" could not be started: ${said}`);
    await sleep(POLL_MS);
  }
}

async function ending(platform: TestPlatform, id: string): Promise<RunView> {
  const deadline = performance.now() + END_MS;
  for (;;) {
    const { status, text } = await asked(platform, `/v1/runs/${platform.namespace}/${id}`);
    const run = status === 200 ? RunView.parse(JSON.parse(text)) : undefined;
    if (run && run.status !== "running") return run;
    if (performance.now() > deadline) throw new Error(`it does not end: ${text.slice(0, 600)}`);
    await sleep(POLL_MS);
  }
}

/** What the operations API says; a question that broke is status 0, and is asked again by whoever waits. */
const asked = (platform: TestPlatform, path: string): Promise<{ status: number; text: string }> =>
  platform.ops(path).catch((error: unknown) => ({ status: 0, text: String(error) }));

async function historyOf(platform: TestPlatform, id: string): Promise<HistoryPage> {
  const deadline = performance.now() + END_MS;
  for (;;) {
    const { status, text } = await asked(platform, `/v1/runs/${platform.namespace}/${id}/history?limit=1000`);
    if (status === 200) return HistoryPage.parse(JSON.parse(text));
    if (performance.now() > deadline) throw new Error(`its history cannot be read: ${status} ${text}`);
    await sleep(POLL_MS);
  }
}

async function faultsOf(platform: TestPlatform, run: RunView): Promise<string[]> {
  const of = `${run.id}: `;
  if (run.status !== "succeeded") return [`${of}${run.status} ${JSON.stringify(run.error)}`];
  const answers = Answer.array().parse(run.output);
  const completed = (await historyOf(platform, run.id)).entries.filter(
    ({ type }) => type === "effect-completed",
  );
  const accepted = completed.map(({ payload }) =>
    payload && "value" in payload ? Answer.parse(payload.value).call : "none",
  );
  const faults: string[] = [];
  if (answers.map(({ at }) => at).join() !== [...answers.keys()].join() || answers.length !== STEPS)
    faults.push(`${of}its steps were ${JSON.stringify(answers)}`);
  if (new Set(completed.map(({ token }) => token)).size !== completed.length)
    faults.push(`${of}a step was completed twice`);
  if (accepted.join() !== answers.map(({ call }) => call).join())
    faults.push(`${of}accepted were ${accepted.join()}, not ${JSON.stringify(answers)}`);
  return faults;
}
