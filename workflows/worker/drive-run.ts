import { PlatformError } from "../../api/errors.ts";
import { broken } from "../core/advance.ts";
import type { Change } from "../core/change.ts";
import type { Input } from "../core/interpret.ts";
import { nextDueAt } from "../core/next-due.ts";
import type { RunRecord } from "../core/run-record.ts";
import { type ActorFacts, type Definition, DefinitionError } from "../definition/definition.ts";
import type { Claim, Lease, StoredMessage } from "../journal/journal.ts";
import { applyInputs, endUnasked } from "./apply-inputs.ts";
import { commitUntilAnswered } from "./commit-until-answered.ts";
import { noteItems } from "./note-items.ts";
import { pausing, Unwanted } from "./pausing.ts";
import { pinnedDefinition } from "./pinned-definition.ts";
import type { WorkerPorts } from "./ports.ts";
import { type RunningEffects, runningEffects } from "./running-effects.ts";
import { closedMaps, storeItems, storePayloads } from "./store-payloads.ts";

/**
 * One claimed run, from the claim to its end, its parking or the loss of the lease.
 *
 * Invariants:
 * 1. One thing at a time: inputs are taken in order of arrival, by one loop.
 * 2. Nothing is begun that is not committed; what a commit drops is aborted after it.
 * 3. Messages leave the inbox by the commit of the transitions that they caused, and only so.
 * 4. After a conflict nothing is written any more: somebody else has the run.
 * 5. A run can be ended whatever becomes of its definition: cancel, terminate and the deadline never wait for it.
 */
export interface RunDriver {
  readonly lease: Lease;
  /** There may be something in the inbox. */
  nudge(): void;
  /** The lease is lost: nothing more is written, what is under way is aborted. */
  lose(): void;
  /** Begins nothing more; the run is given back when what is under way has ended, or at once after `abort`. */
  stop(): void;
  abort(): void;
  /** Resolves when the run is in other hands, parked or ended; never rejects. `true`: something came in at the last moment. */
  readonly over: Promise<boolean>;
}

/** What comes due within this time is waited for with the run in hand. */
const INLINE_WAIT_MS = 1_000;
/** Messages that go into one commit. */
const MAX_BATCH = 100;

export function driveRun(claim: Claim, leaseMs: number, ports: WorkerPorts): RunDriver {
  return new Driver(claim, leaseMs, ports);
}

class Driver implements RunDriver {
  readonly lease: Lease;
  readonly over: Promise<boolean>;
  readonly #leaseMs: number;
  readonly #ports: WorkerPorts;
  readonly #running: RunningEffects;
  #record: RunRecord;
  #inbox: readonly StoredMessage[];
  #answers: Input[] = [];
  #nudged = false;
  #actors: Readonly<Record<string, ActorFacts>> = {};
  #state: "driving" | "stopping" | "aborted" | "lost" = "driving";
  #rouse = (): void => {};

  constructor(claim: Claim, leaseMs: number, ports: WorkerPorts) {
    this.lease = claim.lease;
    this.#leaseMs = leaseMs;
    this.#ports = ports;
    this.#record = claim.record;
    this.#inbox = claim.inbox;
    this.#running = runningEffects(claim.lease, ports, (input) => {
      this.#answers.push(input);
      this.#rouse();
    });
    this.over = this.#whole();
  }

  nudge(): void {
    this.#nudged = true;
    this.#rouse();
  }

  lose(): void {
    this.#state = "lost";
    this.#running.abortAll();
    this.#rouse();
  }

  stop(): void {
    if (this.#state === "driving") this.#state = "stopping";
    this.#rouse();
  }

  abort(): void {
    if (this.#state !== "lost") this.#state = "aborted";
    this.#running.abortAll();
    this.#rouse();
  }

  async #whole(): Promise<boolean> {
    try {
      await this.#drive();
    } catch (error) {
      if (!(error instanceof Unwanted)) this.#ports.onFault(this.lease.key, "run", error);
    }
    this.#running.abortAll();
    // Whoever is next need not wait for the lease to run out; if that cannot be said, they wait.
    if (this.#state === "aborted") await this.#ports.journal.release(this.lease).catch(() => {});
    this.#state = "lost";
    return this.#nudged;
  }

  async #drive(): Promise<void> {
    const definition = await this.#definition();
    if (!definition) return;
    this.#actors = definition.facts.actors;
    while (await this.#round(definition))
      if (!this.#nudged && this.#answers.length === 0) await this.#sleep();
  }

  /** Waits for it, unless the run is to end: by what its pins tell then. Undefined: it has ended. */
  async #definition(): Promise<Definition | undefined> {
    const pinned = pinnedDefinition(this.#record.facts);
    const found = await this.#patiently("definition", async () => {
      try {
        return await this.#ports.definitions.get(this.#record.facts);
      } catch (error) {
        if (this.#record.ending) return pinned;
        if (error instanceof DefinitionError && error.code !== "definition_unavailable") return error;
        this.#actors = pinned.facts.actors;
        const batch = await this.#latest(this.#inbox);
        const ended = await endUnasked(this.#record, messagesOf(batch), this.#actors, this.#ports);
        if (!ended) throw error;
        return { ended, batch };
      }
    });
    if (found instanceof DefinitionError) {
      this.#actors = pinned.facts.actors;
      return (await this.#write(this.#broken(found), [])) === "over" ? undefined : pinned;
    }
    if (!("ended" in found)) return found;
    this.#inbox = [];
    this.#nudged = true;
    return (await this.#write(found.ended, found.batch)) === "over" ? undefined : pinned;
  }

  /** The run ends with what keeps it from going on. */
  #broken(error: { readonly code: string; readonly message: string }): Change {
    const { clock, random } = this.#ports;
    const around = { now: clock.now(), passed: clock.passed(), random, actors: this.#actors };
    return broken(this.#record, this.#record, error, around);
  }

  /** A batch, or what lies in the inbox if there is news in it: not too much at once, but all that asks for the end. */
  async #latest(batch: readonly StoredMessage[]): Promise<readonly StoredMessage[]> {
    const inbox = this.#nudged ? await this.#ports.journal.inbox(this.lease) : batch;
    return inbox.filter(({ message: { kind } }, at) => at < MAX_BATCH || isOrder(kind));
  }

  /** Takes what there is, commits it, begins what is to begin. `false`: the run is out of hand. */
  async #round(definition: Definition): Promise<boolean> {
    const [own, gathered] = await this.#gather();
    await this.#noteItems(gathered);
    const { change, batch } = await this.#patiently("transition", async () => {
      try {
        const inputs = [...own, ...messagesOf(gathered)];
        return {
          change: await applyInputs(this.#record, inputs, definition, this.#ports),
          batch: gathered,
        };
      } catch (error) {
        const latest = await this.#latest(gathered);
        const inputs = [...own, ...messagesOf(latest)];
        const ended = await endUnasked(this.#record, inputs, this.#actors, this.#ports);
        if (!ended) throw error;
        return { change: ended, batch: latest };
      }
    });
    this.#running.taken(own);
    const changed = change.record !== this.#record || change.history.length > 0 || batch.length > 0;
    if (changed && (await this.#write(change, batch)) === "over") return false;
    this.#running.follow(this.#record, this.#actors, this.#state === "driving");
    if (changed || this.#nudged || this.#answers.length > 0 || !this.#mayPark(this.#record)) return true;
    await this.#ports.journal.release(this.lease);
    this.#ports.onParked(this.lease.key, nextDueAt(this.#record));
    return false;
  }

  /** What has come for items of maps: noted before the commit that takes it from the inbox, so that it is not lost between the two. */
  async #noteItems(batch: readonly StoredMessage[]): Promise<void> {
    if (Object.values(this.#record.effects).every(({ map }) => map === undefined)) return;
    const { journal, clock } = this.#ports;
    const messages = batch.map(({ message }) => message);
    const touched = await this.#patiently("items", () =>
      noteItems(this.#record, messages, this.lease, journal, clock.now()),
    );
    if (touched === "conflict") throw new Unwanted();
    for (const { token, index } of touched) this.#running.told(token, index);
  }

  async #gather(): Promise<[readonly Input[], readonly StoredMessage[]]> {
    if (this.#nudged) {
      this.#nudged = false;
      this.#inbox = await this.#patiently("inbox", () => this.#ports.journal.inbox(this.lease));
    }
    const own = this.#answers.map((answer) => this.#running.current(answer));
    this.#answers = [];
    const batch = this.#inbox.slice(0, MAX_BATCH);
    this.#nudged ||= this.#inbox.length > batch.length;
    this.#inbox = [];
    return [own, batch];
  }

  async #write(change: Change, batch: readonly StoredMessage[]): Promise<"over" | "held"> {
    const { journal, payloads } = this.#ports;
    const before = this.#record;
    const stored = await this.#patiently("payloads", () => this.#storable(change));
    const items = await this.#patiently("items", () =>
      storeItems(before, stored.record, this.lease, journal, payloads),
    );
    if (items === "conflict") throw new Unwanted();
    const release = !this.#nudged && this.#answers.length === 0 && this.#mayPark(stored.record);
    const commit = {
      expectedVersion: before.version,
      record: stored.record,
      history: stored.history,
      taken: batch.map(({ position }) => position),
      release,
      closedMaps: closedMaps(before, stored.record),
    };
    const answer = await commitUntilAnswered(this.lease, commit, this.#leaseMs, this.#ports, () =>
      this.#held(),
    );
    if (answer.kind === "conflict") throw new Unwanted();
    this.#record = { ...stored.record, version: before.version + 1 };
    if (this.#record.status !== "running") this.#nudged = false;
    else if (!release || answer.waiting) this.#nudged ||= answer.waiting;
    else this.#ports.onParked(this.lease.key, nextDueAt(this.#record));
    return this.#record.status !== "running" || (release && !answer.waiting) ? "over" : "held";
  }

  /** What is too large for the store ends the run: it would be so at every further try. */
  async #storable(change: Change): Promise<Change> {
    try {
      return await storePayloads(change, this.#ports.payloads);
    } catch (error) {
      if (!(error instanceof PlatformError) || error.code !== "payload_too_large") throw error;
      return this.#broken(error);
    }
  }

  #held(): boolean {
    return this.#state === "driving" || this.#state === "stopping";
  }

  #patiently<T>(what: string, act: () => Promise<T>): Promise<T> {
    return pausing(this.#ports, this.lease.key, what, () => this.#held(), act);
  }

  /** When something of the run falls due, what is under way left out. */
  #dueAt(record: RunRecord): number | undefined {
    const effects = Object.entries(record.effects).filter(([token]) => !this.#running.has(token));
    return nextDueAt({ ...record, effects: Object.fromEntries(effects) });
  }

  #mayPark(record: RunRecord): boolean {
    if (Object.keys(record.effects).some((token) => this.#running.has(token))) return false;
    if (this.#state !== "driving") return true;
    const due = this.#dueAt(record);
    return due === undefined || due > this.#ports.clock.now() + INLINE_WAIT_MS;
  }

  #sleep(): Promise<void> {
    return new Promise((wake) => {
      const due = this.#dueAt(this.#record);
      const { clock } = this.#ports;
      const cancel =
        due === undefined
          ? () => {}
          : clock.after(Math.max(0, Math.ceil(due - clock.passed())), () => this.#rouse());
      this.#rouse = () => {
        this.#rouse = () => {};
        cancel();
        wake();
      };
    });
  }
}

const messagesOf = (batch: readonly StoredMessage[]): Input[] => batch.map(({ message }) => message);
const isOrder = (kind: Input["kind"]): boolean => kind === "cancel" || kind === "terminate";
