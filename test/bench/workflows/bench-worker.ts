/**
 * A worker of the workflow engine as a process of its own, as the workflow service has it: the real worker, journal, queue and definition host. Only the call
 * of a function is answered here, at once: what is measured is the engine. Spoken to by the messages below.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { processLog } from "../../../net/log.ts";
import { redisConnection } from "../../../net/redis.ts";
import type { Json } from "../../../workflows/core/json.ts";
import { newRun } from "../../../workflows/core/new-run.ts";
import type { RunKey } from "../../../workflows/core/run-record.ts";
import type { Definition } from "../../../workflows/definition/definition.ts";
import { childHosts } from "../../../workflows/host/child-host.ts";
import { type CodeSource, definitionHost } from "../../../workflows/host/definition-host.ts";
import { hostedDefinition } from "../../../workflows/host/hosted-definition.ts";
import { redisJournal } from "../../../workflows/journal/redis-journal.ts";
import { redisPayloads } from "../../../workflows/payloads/redis-payloads.ts";
import { runChanges } from "../../../workflows/server/run-changes.ts";
import type { FunctionCall } from "../../../workflows/worker/call-function.ts";
import { callAfter, startEngine } from "../../../workflows/worker/engine.ts";
import { effectPerformer } from "../../../workflows/worker/perform-effect.ts";
import { runFacts } from "../../workflows/run-facts.ts";
import { DENO } from "../../workflows/workflow-bundle.ts";

export interface WorkerInit {
  readonly redisUrl: string;
  readonly name: string;
  /** By workflow. */
  readonly code: Readonly<Record<string, CodeSource>>;
  /** Folder that Deno may keep its own files in. */
  readonly denoDir: string;
  /** How long the function takes. */
  readonly callMs: number;
}
export type ToWorker =
  | { readonly kind: "init"; readonly init: WorkerInit }
  | { readonly kind: "start"; readonly id: string; readonly workflow: string; readonly input: Json }
  /** How long after one call of the run's the next one began. */
  | { readonly kind: "gaps"; readonly id: string }
  /** When the run's last call ended, by the store's clock. */
  | { readonly kind: "last"; readonly id: string };
export type FromWorker =
  | { readonly kind: "ready"; readonly hostPid: number }
  | { readonly kind: "called"; readonly id: string }
  | { readonly kind: "ended"; readonly id: string; readonly status: string }
  | { readonly kind: "gaps"; readonly id: string; readonly ms: readonly number[] }
  | { readonly kind: "last"; readonly id: string; readonly at: number };

const say = (message: FromWorker): void => void process.send?.(message);

async function work({
  redisUrl,
  name,
  code,
  denoDir,
  callMs,
}: WorkerInit): Promise<(message: ToWorker) => void> {
  const log = processLog(name, { level: "error" });
  const redis = redisConnection({ url: redisUrl, log, name });
  await redis.ready(10_000);
  const plain = redisJournal(() => redis.client());
  const changes = runChanges({
    ...plain,
    commit: async (lease, commit) => {
      const answer = await plain.commit(lease, commit);
      if (answer.kind === "committed" && commit.record.status !== "running")
        say({ kind: "ended", id: lease.key.id, status: commit.record.status });
      return answer;
    },
  });
  const { journal } = changes;
  const host = definitionHost({ start: childHosts({ deno: DENO, denoDir }), deadlineMs: 10_000 });
  const definitions = new Map<string, Definition>();
  for (const [workflow, source] of Object.entries(code))
    definitions.set(workflow, (await hostedDefinition(host, source)).definition);
  const payloads = redisPayloads(() => redis.client());
  const gaps = new Map<string, number[]>();
  const last = new Map<string, number>();
  const add = async ({ run, input }: FunctionCall): Promise<Json> => {
    const before = last.get(run.id);
    if (before === undefined) say({ kind: "called", id: run.id });
    else {
      const list = gaps.get(run.id) ?? [];
      list.push(performance.now() - before);
      gaps.set(run.id, list);
    }
    if (callMs > 0) await sleep(callMs);
    last.set(run.id, performance.now());
    return { n: Number(Object(input).n) + 1 };
  };
  let now = Date.now;
  const engine = await startEngine({
    name,
    redisUrl,
    log,
    signal: new AbortController().signal,
    journal,
    payloads,
    deliver: journal.deliver,
    definitions: {
      get: async ({ workflow }) => {
        const found = definitions.get(workflow);
        if (!found) throw new Error(`No workflow "${workflow}"`);
        return found;
      },
    },
    performer: effectPerformer({
      journal,
      payloads,
      clock: { now: () => now(), after: callAfter },
      random: Math.random,
      call: async (call) => ({ kind: "done", output: await add(call) }),
      tokens: { make: () => "token" },
      startChild: () => Promise.reject(new Error("No workflow here has children")),
      cancel: () => Promise.resolve(),
    }),
  });
  now = () => engine.now();
  say({ kind: "ready", hostPid: host.pid ?? 0 });
  const start = async (key: RunKey, workflow: string, input: Json): Promise<void> => {
    const pins = { add: { kind: "function", name: "add", version: "1" } } as const;
    const { record, history } = newRun(runFacts(key.id, input, { workflow, pins }));
    await journal.create(record, history);
    engine.wake(key);
  };
  return (message) => {
    if (message.kind === "start")
      void start({ namespace: "shop", id: message.id }, message.workflow, message.input);
    else if (message.kind === "gaps") say({ ...message, ms: gaps.get(message.id) ?? [] });
    else if (message.kind === "last")
      say({ ...message, at: now() - performance.now() + (last.get(message.id) ?? 0) });
  };
}

let worker: Promise<(message: ToWorker) => void> | undefined;
process.on("message", (message: ToWorker) => {
  if (message.kind === "init") worker = work(message.init);
  else void worker?.then((take) => take(message));
});
process.on("disconnect", () => process.exit(0));
