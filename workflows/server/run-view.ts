import type { HistoryLine, RunSummaryView, RunView } from "../../api/wire/workflows.ts";
import type { z } from "zod";
import type { HistoryEntry, RunRecord } from "../core/run-record.ts";
import type { RunSummary } from "../journal/journal.ts";
import type { Payloads } from "../worker/ports.ts";
import { payloadValue } from "./start-run.ts";

const iso = (ms: number): string => new Date(ms).toISOString();

/** A run as callers see it, with its input and output in full. */
export async function runView(record: RunRecord, payloads: Pick<Payloads, "load">): Promise<RunView> {
  const { facts, ending } = record;
  const output = record.output === undefined ? undefined : await payloadValue(payloads, record.output);
  const error = record.error ?? ending?.error;
  return {
    namespace: facts.key.namespace,
    id: facts.key.id,
    workflow: facts.workflow,
    generation: facts.generation,
    definition: facts.definition,
    status: record.status,
    states: [...record.states],
    accepts: [...record.accepts],
    startedBy: facts.startedBy,
    startedAt: iso(record.startedAt),
    updatedAt: iso(record.updatedAt),
    ...(record.finishedAt === undefined ? {} : { finishedAt: iso(record.finishedAt) }),
    ...(record.deadlineAt === undefined ? {} : { deadlineAt: iso(record.deadlineAt) }),
    input: await payloadValue(payloads, facts.input),
    output,
    ...(error === undefined ? {} : { error: { ...error } }),
    ...(ending === undefined || record.status !== "running" ? {} : { ending: ending.status }),
    ...(facts.parent === undefined ? {} : { parent: { ...facts.parent.key } }),
    pins: Object.fromEntries(Object.entries(facts.pins).map(([actor, pin]) => [actor, { ...pin }])),
    steps: Object.values(record.effects)
      .filter(({ duty }) => duty === undefined)
      .map(({ token, actor, state, attempt, notBefore, waiting, map }) => ({
        token,
        actor,
        state,
        attempt,
        ...(notBefore === undefined ? {} : { notBefore: iso(notBefore) }),
        ...(waiting === undefined ? {} : { waiting: true }),
        ...(map === undefined ? {} : { items: map.items }),
      })),
    timers: Object.values(record.timers).map(({ id, event, dueAt }) => ({
      id,
      event: event.type,
      dueAt: iso(dueAt),
    })),
  };
}

export const summaryView = (run: RunSummary): z.infer<typeof RunSummaryView> => ({
  namespace: run.key.namespace,
  id: run.key.id,
  workflow: run.workflow,
  status: run.status,
  states: [...run.states],
  startedAt: iso(run.startedAt),
  ...(run.finishedAt === undefined ? {} : { finishedAt: iso(run.finishedAt) }),
});

export function historyLine(entry: HistoryEntry): HistoryLine {
  const { at, error, ...rest } = entry;
  return { ...rest, at: iso(at), ...(error === undefined ? {} : { error: { ...error } }) };
}
