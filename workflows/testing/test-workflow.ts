import { parseDurationMs } from "../../api/duration.ts";
import { PlatformError } from "../../api/errors.ts";
import { accepts } from "../core/delivery-rules.ts";
import type { Json } from "../core/json.ts";
import type {
  HistoryEntry,
  Outcome,
  Payload,
  Pin,
  RunKey,
  RunRecord,
  RunStatus,
} from "../core/run-record.ts";
import type { CodeDefinition } from "../definition/code-definition.ts";
import type { ActorFacts, Definition, ErrorFacts, MachineEvent } from "../definition/definition.ts";
import { takesEvent } from "../definition/takes-event.ts";
import type { Delivered } from "../journal/journal.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import { runStarter } from "../server/start-run.ts";
import { childStarter } from "../worker/child-runs.ts";
import { effectPerformer } from "../worker/perform-effect.ts";
import type { Payloads, WorkerPorts } from "../worker/ports.ts";
import { runWorker } from "../worker/run-worker.ts";
import { localDefinition } from "./local-definition.ts";
import { type MadeCall, type MockFunction, mockedFunctions } from "./mocked-functions.ts";
import { virtualClock } from "./virtual-clock.ts";

export interface TestWorkflowOptions {
  /** Functions that the workflow calls, by name. */
  readonly functions?: Readonly<Record<string, MockFunction>>;
  /** Workflows that it runs as steps, by name. */
  readonly workflows?: Readonly<Record<string, CodeDefinition>>;
  /** When the test begins; default 2026-01-01. */
  readonly now?: Date;
}

/** A run of a workflow in a test: driven by the platform's own engine, with its store in memory and time that passes only by `advance`. */
export interface WorkflowTest {
  /** Starts the run; resolves when it waits for something. Rejects when the input is refused. */
  start(input?: unknown): Promise<void>;
  /** Lets time pass, e.g. "30d": timers, retries and time limits fall due in their order. */
  advance(duration: string | number): Promise<void>;
  /** Sends an event. Rejects when it is not taken now, or is not as the workflow declares. */
  send(event: { readonly type: string; readonly [key: string]: unknown }): Promise<void>;
  /** Answers for a step that waits for its callback, by its name in `actors`. */
  complete(actor: string, output?: unknown): Promise<void>;
  fail(actor: string, error: ErrorFacts): Promise<void>;
  cancel(reason?: string): Promise<void>;
  readonly status: RunStatus;
  /** Paths of the active states. */
  readonly states: readonly string[];
  /** All states that were ever active, in the order in which they became so. */
  readonly visited: readonly string[];
  readonly context: unknown;
  readonly output: unknown;
  readonly error: ErrorFacts | undefined;
  /** All calls of functions, in order. */
  readonly calls: readonly MadeCall[];
  readonly emitted: readonly MachineEvent[];
  readonly history: readonly HistoryEntry[];
  readonly now: Date;
}

const NAMESPACE = "test";
const KEY: RunKey = { namespace: NAMESPACE, id: "run" };
const FOREVER_MS = 1e13;
const MAX_HISTORY = 1_000_000;

/** A test of a workflow. Nothing runs until `start`. */
export function testWorkflow(code: CodeDefinition, options: TestWorkflowOptions = {}): WorkflowTest {
  return new Test(code, options);
}

class Test implements WorkflowTest {
  readonly #clock;
  readonly #journal;
  readonly #worker;
  readonly #start;
  readonly #mocks;
  readonly #name: string;
  readonly #definition: Definition;
  readonly #faults: unknown[] = [];
  #record: RunRecord | undefined;
  #history: readonly HistoryEntry[] = [];

  constructor(code: CodeDefinition, options: TestWorkflowOptions) {
    const problems = code.problems();
    if (problems.length > 0)
      throw new Error(
        `Cannot run workflow "${code.id}": ${problems.map(({ place, message }) => `${place}: ${message}`).join("; ")}`,
      );
    this.#name = code.id;
    this.#definition = localDefinition(code);
    const clock = virtualClock((options.now ?? new Date("2026-01-01T00:00:00Z")).getTime());
    const journal = memoryJournal({ now: () => clock.now(), onCall: () => clock.stir() });
    const definitions = new Map(
      Object.entries({ ...options.workflows, [code.id]: code }).map(([name, one]) => [
        name,
        localDefinition(one),
      ]),
    );
    const definitionOf = (name: string) => {
      const definition = definitions.get(name);
      if (!definition) throw new PlatformError("workflow_not_found", `The test has no workflow "${name}"`);
      return definition;
    };
    const wake = (key: RunKey): void => void worker.take(key);
    const payloads: Payloads = {
      inlineBytes: Number.MAX_SAFE_INTEGER,
      store: (_run, json) => Promise.resolve({ value: JSON.parse(json) }),
      load: (ref) => Promise.reject(new Error(`nothing is stored outside, got "${ref}"`)),
    };
    this.#start = runStarter({
      journal,
      payloads,
      pins: { resolve: ({ actors }) => Promise.resolve(pinsOf(actors)) },
      register: { add: () => Promise.resolve() },
      current: (_namespace, name) =>
        Promise.resolve({ uid: name, generation: 1, definition: definitionOf(name) }),
      wake,
    });
    this.#mocks = mockedFunctions(
      options.functions ?? {},
      ({ callbackToken }) => callbackToken !== undefined,
      () => clock.begin(),
      (name) => {
        this.#faults.push(
          new Error(
            `The workflow calls function "${name}", which the test does not have: give it in functions`,
          ),
        );
      },
    );
    const performer = effectPerformer({
      journal,
      payloads,
      clock,
      random: () => 0,
      call: this.#mocks.call,
      tokens: { make: ({ token }) => token },
      startChild: childStarter(this.#start),
      cancel: (key, reason) => ports.deliver(key, { kind: "cancel", reason }),
    });
    const ports: WorkerPorts = {
      journal,
      definitions: { get: ({ workflow }) => Promise.resolve(definitionOf(workflow)) },
      performer,
      payloads,
      clock,
      deliver: async (key, message): Promise<Delivered> => {
        const delivered = await journal.deliver(key, message);
        wake(key);
        return delivered;
      },
      onParked: (key, dueAt) => clock.at(`${key.namespace}/${key.id}`, dueAt, () => wake(key)),
      random: () => 0,
      onFault: (_key, _what, error) => void this.#faults.push(error),
    };
    const worker = runWorker(
      { name: "test", leaseMs: FOREVER_MS, renewEveryMs: FOREVER_MS, maxRuns: 100_000, maxLine: 100_000 },
      ports,
    );
    this.#clock = clock;
    this.#journal = journal;
    this.#worker = worker;
  }

  async start(input: unknown = null): Promise<void> {
    if (this.#record) throw new Error("The run has started already");
    await this.#start({ ...KEY, workflow: this.#name, input: json(input), startedBy: "test" });
    await this.#settle();
  }

  async advance(duration: string | number): Promise<void> {
    const ms = typeof duration === "number" ? duration * 1000 : parseDurationMs(duration);
    await this.#clock.advance(ms);
    await this.#settle();
  }

  async send(event: { readonly type: string }): Promise<void> {
    const record = this.#present();
    const made: MachineEvent = JSON.parse(JSON.stringify(event));
    const fault = await this.#definition.checkEvent(made);
    if (fault !== undefined) throw new Error(`Cannot send event "${event.type}": ${fault}`);
    if (accepts(record, event.type) && !(await takesEvent(this.#definition, record, made)))
      throw new Error(`Cannot send event "${event.type}": its guards say no to it now`);
    const id = `event-${this.#clock.now()}-${this.#history.length}`;
    const delivered = await this.#journal.deliver(KEY, { kind: "event", id, event: made, buffered: false });
    if (delivered.kind !== "accepted")
      throw new Error(
        `Cannot send event "${event.type}": ${record.status === "running" ? `taken now are ${record.accepts.map((type) => `"${type}"`).join(", ") || "none"}` : `the run is ${record.status}`}`,
      );
    await this.#deliveredOne();
  }

  complete(actor: string, output: unknown = null): Promise<void> {
    return this.#answer(actor, { kind: "done", output: { value: json(output) } });
  }

  fail(actor: string, error: ErrorFacts): Promise<void> {
    return this.#answer(actor, { kind: "failed", error });
  }

  async cancel(reason = ""): Promise<void> {
    await this.#journal.deliver(KEY, { kind: "cancel", reason });
    await this.#deliveredOne();
  }

  get status(): RunStatus {
    return this.#present().status;
  }
  get states(): readonly string[] {
    return this.#present().states;
  }
  get visited(): readonly string[] {
    let before: readonly string[] = [];
    return this.#history.flatMap(({ type, state }) => {
      if (type !== "transition") return [];
      const now = (state ?? "").split(",").filter((name) => name !== "");
      const entered = now.filter((name) => !before.includes(name));
      before = now;
      return entered;
    });
  }
  get context(): unknown {
    const snapshot: { readonly context?: unknown } = JSON.parse(this.#present().snapshot || "{}");
    return snapshot.context;
  }
  get output(): unknown {
    return valueOf(this.#present().output);
  }
  get error(): ErrorFacts | undefined {
    return this.#present().error;
  }
  get calls(): readonly MadeCall[] {
    return this.#mocks.calls;
  }
  get emitted(): readonly MachineEvent[] {
    return this.#history.flatMap(({ type, payload }) => {
      const event: unknown = type === "emitted" ? valueOf(payload) : undefined;
      return isEvent(event) ? [event] : [];
    });
  }
  get history(): readonly HistoryEntry[] {
    return this.#history;
  }
  get now(): Date {
    return new Date(this.#clock.now());
  }

  #present(): RunRecord {
    if (!this.#record) throw new Error("The run has not started: call start first");
    return this.#record;
  }

  /** Until the run waits for time, or for somebody. @throws what went wrong on the test's side */
  async #settle(): Promise<void> {
    await this.#clock.quiet();
    this.#record = await this.#journal.load(KEY);
    this.#history = await this.#journal.history(KEY, 0, MAX_HISTORY);
    const [fault] = this.#faults.splice(0);
    if (fault !== undefined) throw fault;
  }

  async #deliveredOne(): Promise<void> {
    void this.#worker.take(KEY);
    await this.#settle();
  }

  async #answer(actor: string, outcome: Outcome): Promise<void> {
    const waiting = Object.values(this.#present().effects).find(
      (effect) => effect.actor === actor && effect.waiting,
    );
    if (!waiting) throw new Error(`Cannot answer for step "${actor}": it waits for no callback`);
    await this.#journal.deliver(KEY, { kind: "completed", token: waiting.token, outcome });
    await this.#deliveredOne();
  }
}

/** Each function at one version: tests know no others. */
function pinsOf(actors: Readonly<Record<string, ActorFacts>>): Record<string, Pin> {
  return Object.fromEntries(
    Object.entries(actors).map(([actor, facts]): [string, Pin] => {
      const called = facts.kind === "map" ? facts.each : facts;
      return [
        actor,
        called.kind === "workflow"
          ? { kind: "workflow", name: called.name }
          : { kind: "function", name: called.name, version: `${called.name}-v1` },
      ];
    }),
  );
}

const json = (value: unknown): Json => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

const valueOf = (payload: Payload | undefined): unknown =>
  payload !== undefined && "value" in payload ? payload.value : undefined;

const isEvent = (value: unknown): value is MachineEvent =>
  typeof value === "object" && value !== null && "type" in value;
