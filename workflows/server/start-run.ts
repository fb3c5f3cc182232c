import { randomUUID } from "node:crypto";
import { canonicalJson } from "../../api/canonical-json.ts";
import { parseDurationMs } from "../../api/duration.ts";
import { PlatformError } from "../../api/errors.ts";
import type { Json } from "../core/json.ts";
import { newRun } from "../core/new-run.ts";
import { type Payload, RUN_FORMAT, type RunFacts, type RunKey, type RunRecord } from "../core/run-record.ts";
import { type Definition, DefinitionError } from "../definition/definition.ts";
import type { DefinitionRegister } from "../definitions/definition-register.ts";
import type { Journal } from "../journal/journal.ts";
import type { Pins } from "../pins/resolve-pins.ts";
import type { Payloads } from "../worker/ports.ts";

export interface NewRunRequest {
  readonly namespace: string;
  readonly workflow: string;
  /** Made up when left out. */
  readonly id?: string | undefined;
  readonly input: Json;
  /** A duration. */
  readonly deadline?: string | undefined;
  readonly startedBy: string;
  readonly parent?: RunFacts["parent"];
}

/** A Workflow as it is now, and what runs of it are made of. */
export interface CurrentWorkflow {
  readonly uid: string;
  readonly generation: number;
  readonly definition: Definition;
}

export interface StartRunDeps {
  readonly journal: Pick<Journal, "create" | "load" | "now">;
  readonly payloads: Payloads;
  readonly pins: Pick<Pins, "resolve">;
  readonly register: Pick<DefinitionRegister, "add">;
  /** @throws {PlatformError} workflow_not_found, workflow_not_ready */
  readonly current: (namespace: string, workflow: string) => Promise<CurrentWorkflow>;
  /** A run is due. */
  readonly wake: (key: RunKey) => void;
}

export interface StartedRun {
  readonly created: boolean;
  readonly record: RunRecord;
}
export type StartRun = (request: NewRunRequest) => Promise<StartedRun>;

/**
 * Starts runs, once per id: whoever starts one again gets what is there.
 * Rejects with `PlatformError` workflow_not_found, workflow_not_ready, workflow_input_invalid, run_conflict, bad_request.
 */
export function runStarter(deps: StartRunDeps): StartRun {
  return async (request) => {
    const { namespace, workflow, input, startedBy, parent } = request;
    const limitMs = request.deadline === undefined ? undefined : deadlineMs(request.deadline);
    const key: RunKey = { namespace, id: request.id ?? randomUUID() };
    const inputText = JSON.stringify(input);
    if (request.id !== undefined) {
      const there = await deps.journal.load(key);
      if (there) return { created: false, record: await same(deps, request, there) };
    }
    const { uid, generation, definition } = await deps.current(namespace, workflow);
    await checkInput(definition, workflow, input);
    const pins = await deps.pins.resolve({
      namespace,
      workflow,
      runId: key.id,
      actors: definition.facts.actors,
    });
    const facts: RunFacts = {
      key,
      workflow,
      workflowUid: uid,
      generation,
      definition: definition.digest,
      input: await storedPayload(deps.payloads, key, input, inputText),
      pins,
      ...(parent === undefined ? {} : { parent }),
      startedBy,
      format: RUN_FORMAT,
    };
    const deadlineAt = limitMs === undefined ? undefined : (await deps.journal.now()) + limitMs;
    await deps.register.add({ namespace, workflow, digest: definition.digest });
    const { record, history } = newRun(facts, deadlineAt);
    const result = await deps.journal.create(record, history);
    if (!result.created) return { created: false, record: await same(deps, request, result.record) };
    deps.wake(key);
    return result;
  };
}

/** A value as a record holds it: outside when it is large. */
export async function storedPayload(
  payloads: Payloads,
  run: RunKey,
  value: Json,
  text = JSON.stringify(value),
): Promise<Payload> {
  return Buffer.byteLength(text) > payloads.inlineBytes ? payloads.store(run, text) : { value };
}

export const payloadValue = (payloads: Pick<Payloads, "load">, payload: Payload): Promise<Json> | Json =>
  "ref" in payload ? payloads.load(payload.ref) : payload.value;

async function same(deps: StartRunDeps, request: NewRunRequest, record: RunRecord): Promise<RunRecord> {
  const { facts } = record;
  const input = await payloadValue(deps.payloads, facts.input);
  const differs =
    facts.workflow !== request.workflow
      ? `it is a run of workflow "${facts.workflow}"`
      : canonicalJson(input) === canonicalJson(request.input)
        ? undefined
        : "its input is another one";
  if (differs === undefined) return record;
  throw new PlatformError(
    "run_conflict",
    `Cannot start run "${facts.key.namespace}/${facts.key.id}": a run of this id exists, and ${differs}`,
  );
}

function deadlineMs(text: string): number {
  let ms: number;
  try {
    ms = parseDurationMs(text);
  } catch (error) {
    throw new PlatformError("bad_request", error instanceof Error ? error.message : String(error));
  }
  if (ms > 0) return ms;
  throw new PlatformError(
    "bad_request",
    `Cannot start a run: deadline must be longer than 0s, got "${text}"`,
  );
}

async function checkInput(definition: Definition, workflow: string, input: Json): Promise<void> {
  try {
    const fault = await definition.checkInput?.(input);
    if (fault !== undefined)
      throw new PlatformError(
        "workflow_input_invalid",
        `Cannot start workflow "${workflow}": its input is not as it declares: ${fault}`,
      );
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    throw new PlatformError("workflow_not_ready", `Cannot start workflow "${workflow}": ${error.message}`);
  }
}
