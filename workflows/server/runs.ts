import { randomUUID } from "node:crypto";
import { PlatformError } from "../../api/errors.ts";
import type { SendEvent } from "../../api/wire/workflows.ts";
import { accepts } from "../core/delivery-rules.ts";
import { resumed } from "../core/resume.ts";
import type { Message, RunKey, RunRecord } from "../core/run-record.ts";
import { DefinitionError, type MachineEvent } from "../definition/definition.ts";
import { takesEvent } from "../definition/takes-event.ts";
import type { Delivered, Journal } from "../journal/journal.ts";
import { INLINE_BYTES, MAX_PAYLOAD_BYTES } from "../payloads/redis-payloads.ts";
import type { Definitions } from "../worker/ports.ts";

export interface RunsDeps {
  readonly journal: Pick<Journal, "load" | "reopen" | "now">;
  readonly definitions: Definitions;
  /** Puts a message into a run's inbox and sees to it that somebody takes it. */
  readonly deliver: (key: RunKey, message: Message) => Promise<Delivered>;
  readonly wake: (key: RunKey) => void;
}

/** What can be asked of runs that exist. All reject with `PlatformError` of the table. */
export interface Runs {
  /** @throws {PlatformError} run_not_found */
  load(key: RunKey): Promise<RunRecord>;
  send(key: RunKey, request: SendEvent): Promise<{ id: string; result: "accepted" | "duplicate" }>;
  end(key: RunKey, how: "cancel" | "terminate", reason: string): Promise<RunRecord>;
  retry(key: RunKey): Promise<RunRecord>;
}

export function runsOf(deps: RunsDeps): Runs {
  const load = async (key: RunKey): Promise<RunRecord> => {
    const record = await deps.journal.load(key);
    if (record) return record;
    throw new PlatformError("run_not_found", `Run "${nameOf(key)}" does not exist`);
  };
  return {
    load,
    send: async (key, { id = randomUUID(), event, buffered }) => {
      const record = await load(key);
      if (record.status !== "running" || record.ending) throw ended(record);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it came out of JSON
      const given = event as MachineEvent;
      checkSize(record, given, buffered);
      await checkEvent(deps, record, given, buffered);
      const delivered = await deps.deliver(key, { kind: "event", id, event: given, buffered });
      if (delivered.kind === "accepted" || delivered.kind === "duplicate")
        return { id, result: delivered.kind };
      const now = await load(key);
      throw now.status !== "running" || now.ending ? ended(now) : refused(now, given);
    },
    end: async (key, how, reason) => {
      const record = await load(key);
      if (record.status !== "running") throw ended(record);
      const delivered = await deps.deliver(key, { kind: how, reason });
      if (delivered.kind === "finished") throw ended(await load(key));
      return load(key);
    },
    retry: async (key) => {
      for (;;) {
        const record = await load(key);
        const change = resumed(record, await deps.journal.now());
        if (!change) throw notRetried(record);
        if ((await deps.journal.reopen(record.version, change.record, change.history)) === "conflict")
          continue;
        deps.wake(key);
        return load(key);
      }
    },
  };
}

/** One that is kept until it is taken is written with every commit until then. */
function checkSize({ facts }: RunRecord, event: MachineEvent, buffered: boolean): void {
  const bytes = Buffer.byteLength(JSON.stringify(event));
  const most = buffered ? INLINE_BYTES : MAX_PAYLOAD_BYTES;
  if (bytes > most)
    throw new PlatformError(
      "payload_too_large",
      `Cannot send event "${event.type}" to run "${nameOf(facts.key)}": ${buffered ? "one that may be kept" : "it"} must be ${most} bytes of JSON at most, got ${bytes}`,
    );
}

/** By the event's schema, and by the machine's guards as far as its present state says. */
async function checkEvent(
  deps: RunsDeps,
  record: RunRecord,
  event: MachineEvent,
  buffered: boolean,
): Promise<void> {
  const invalid = (fault: string, cause?: Error): PlatformError =>
    new PlatformError(
      "event_invalid",
      `Cannot send event "${event.type}" to run "${nameOf(record.facts.key)}": ${fault}`,
      { cause },
    );
  try {
    const definition = await deps.definitions.get(record.facts);
    const fault = await definition.checkEvent(event);
    if (fault !== undefined) throw invalid(fault);
    if (buffered || !accepts(record, event.type)) return;
    if (!(await takesEvent(definition, record, event)))
      throw refused(record, event, "its guards say no to it");
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    // It would fail the run.
    if (HARMFUL.has(error.code)) throw invalid(error.message, error);
    throw new PlatformError(
      "workflow_not_ready",
      `Cannot check event "${event.type}" for run "${nameOf(record.facts.key)}": ${error.message}`,
      { cause: error },
    );
  }
}

const HARMFUL: ReadonlySet<string> = new Set(["definition_threw", "definition_timeout", "definition_memory"]);

function refused(record: RunRecord, { type }: MachineEvent, why?: string): PlatformError {
  const reason = why ?? `it takes ${listed(record.accepts)}`;
  return new PlatformError(
    "event_refused",
    `Run "${nameOf(record.facts.key)}" does not take event "${type}" now: in ${statesOf(record)} ${reason}`,
  );
}

const nameOf = ({ namespace, id }: RunKey): string => `${namespace}/${id}`;
const listed = (names: readonly string[]): string =>
  names.length === 0 ? "none" : names.map((name) => `"${name}"`).join(", ");
const statesOf = ({ states }: RunRecord): string =>
  states.length === 1 ? `state "${states[0] ?? ""}"` : `states ${listed(states)}`;

const ended = ({ facts, status, ending }: RunRecord): PlatformError =>
  new PlatformError(
    "run_finished",
    ending && status === "running"
      ? `Run "${nameOf(facts.key)}" is ending: it will be ${ending.status}`
      : `Run "${nameOf(facts.key)}" has ended: it is ${status}`,
  );

function notRetried(record: RunRecord): PlatformError {
  const { status, facts } = record;
  const why =
    status === "failed" || status === "timed-out"
      ? "what it had done has been undone by its compensations"
      : `it is ${status}`;
  return new PlatformError("run_not_failed", `Cannot retry run "${nameOf(facts.key)}": ${why}`);
}
