import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import type { Effect, Message, RunRecord } from "../../workflows/core/run-record.ts";
import type { Claim, Commit, ItemNote, Journal, Lease, RunFilter } from "../../workflows/journal/journal.ts";
import { partitionOf } from "../../workflows/journal/partition.ts";

export interface JournalUnderTest {
  readonly journal: Journal;
  /** Lets the store's clock go on by at least so much. */
  pass(ms: number): Promise<void>;
}

const WORKER = "worker-a";
const OTHER = "worker-b";
/** Short, so that real stores' leases run out within a test. */
const LEASE_MS = 60;
const LONG_MS = 60_000;

/** A run of its own name per call, as `newRun` makes it: due at once, nothing done yet. */
export function newRecord(
  change: Partial<RunRecord> & { id?: string; namespace?: string; workflow?: string } = {},
): RunRecord {
  const { id = randomUUID(), namespace = "shop", workflow = "order", ...rest } = change;
  return {
    facts: {
      key: { namespace, id },
      workflow,
      workflowUid: "uid-1",
      generation: 1,
      definition: "d".repeat(64),
      input: { value: { total: 12.5, note: "ünï ✓" } },
      pins: { charge: { kind: "function", name: "charge-card", version: "charge-card-1" } },
      startedBy: "api",
      format: 1,
    },
    version: 1,
    status: "running",
    snapshot: "",
    states: [],
    accepts: [],
    effects: {},
    timers: {},
    transition: 0,
    startedAt: 0,
    updatedAt: 0,
    buffered: [],
    compensations: [],
    ...rest,
  };
}

export const effect = (token: string, change: Partial<Effect> = {}): Effect => ({
  token,
  child: `child-${token}`,
  actor: "charge",
  state: "charging",
  input: { value: { amount: 3 } },
  attempt: 1,
  startedAt: 1,
  attemptAt: 1,
  ...change,
});
const waitingEffect = (token: string): Record<string, Effect> => ({
  [token]: effect(token, { waiting: {} }),
});
const completed = (token: string): Message => ({
  kind: "completed",
  token,
  outcome: { kind: "done", output: { value: { ok: true } } },
});
const event = (type: string, id: string = randomUUID(), buffered = false): Message => ({
  kind: "event",
  id,
  event: { type, amount: 7 },
  buffered,
});

/** What every journal does. `make` gives an empty one. */
export function journalSuite(name: string, make: () => Promise<JournalUnderTest>): void {
  describe(`journal ${name}`, () => {
    let journal: Journal;
    let pass: (ms: number) => Promise<void>;
    beforeEach(async () => {
      ({ journal, pass } = await make());
    });

    const created = async (change: Parameters<typeof newRecord>[0] = {}): Promise<RunRecord> =>
      (await journal.create(newRecord(change), [{ type: "started", transition: 0 }])).record;
    const claimed = async (record: RunRecord, leaseMs = LONG_MS, worker = WORKER): Promise<Claim> => {
      const claim = await journal.claim(record.facts.key, worker, leaseMs);
      if (claim.kind !== "claimed") throw new Error(`Not claimed: ${claim.kind}`);
      return claim;
    };
    const commitOf = (
      record: RunRecord,
      change: Partial<RunRecord> = {},
      rest: Partial<Omit<Commit, "record">> = {},
    ): Commit => ({
      expectedVersion: record.version,
      record: {
        ...record,
        snapshot: '{"value":"a"}',
        transition: record.transition + 1,
        ...change,
        version: record.version + 1,
      },
      history: [],
      taken: [],
      release: false,
      closedMaps: [],
      ...rest,
    });
    const committed = async (
      lease: Lease,
      record: RunRecord,
      change: Partial<RunRecord> = {},
      rest: Partial<Omit<Commit, "record">> = {},
    ): Promise<RunRecord> => {
      const answer = await journal.commit(lease, commitOf(record, change, rest));
      expect(answer).toMatchObject({ kind: "committed" });
      const after = await journal.load(record.facts.key);
      if (!after) throw new Error("The run is gone");
      return after;
    };
    /** A parked run with this in its record. */
    const parked = async (change: Partial<RunRecord>): Promise<RunRecord> => {
      const record = await created();
      const claim = await claimed(record);
      return committed(claim.lease, claim.record, change, { release: true });
    };
    const dueOf = (record: RunRecord) => journal.due(partitionOf(record.facts.key), 10);
    const isDue = async (record: RunRecord): Promise<boolean> =>
      (await dueOf(record)).runs.some(({ id }) => id === record.facts.key.id);
    const texts = async (record: RunRecord) =>
      (await journal.history(record.facts.key, 1, 100)).map(
        ({ seq, type, note }) => `${seq} ${type} ${note ?? ""}`,
      );

    describe("create and load", () => {
      it("keeps the record as given, with the store's times and version 1", async () => {
        const before = await journal.now();
        const given = newRecord({ deadlineAt: 5_000_000_000_000 });
        const answer = await journal.create({ ...given, version: 9, startedAt: 4 }, [
          { type: "started", transition: 0, payload: { value: { a: [1] } } },
        ]);
        const after = await journal.now();
        expect(answer.created).toBe(true);
        const loaded = await journal.load(given.facts.key);
        expect(loaded).toEqual(answer.record);
        expect(loaded).toEqual({
          ...given,
          version: 1,
          startedAt: expect.any(Number),
          updatedAt: loaded?.startedAt,
        });
        expect(loaded?.startedAt).toBeGreaterThanOrEqual(before);
        expect(loaded?.startedAt).toBeLessThanOrEqual(after);
        expect(await journal.history(given.facts.key, 1, 10)).toEqual([
          { type: "started", transition: 0, payload: { value: { a: [1] } }, seq: 1, at: loaded?.startedAt },
        ]);
      });

      it("changes nothing when there is one of that id, and gives it", async () => {
        const first = await created({ id: "order-1" });
        const second = await journal.create(newRecord({ id: "order-1", workflow: "other" }), [
          { type: "started", transition: 0, note: "second" },
        ]);
        expect(second).toEqual({ created: false, record: first });
        expect(await texts(first)).toEqual(["1 started "]);
      });

      it("starts one run when twenty start it at once", async () => {
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            journal.create(newRecord({ id: "one", workflowUid: String(n) } as never), [
              { type: "started", transition: 0 },
            ]),
          ),
        );
        expect(answers.filter((answer) => answer.created)).toHaveLength(1);
        expect(await journal.history({ namespace: "shop", id: "one" }, 1, 10)).toHaveLength(1);
      });

      it("tells namespaces apart", async () => {
        await created({ id: "same", namespace: "one" });
        expect(await journal.load({ namespace: "two", id: "same" })).toBeUndefined();
        expect((await journal.create(newRecord({ id: "same", namespace: "two" }), [])).created).toBe(true);
      });

      it("knows nothing of a run that is not there", async () => {
        const key = { namespace: "shop", id: "nobody" };
        expect(await journal.load(key)).toBeUndefined();
        expect(await journal.claim(key, WORKER, 100)).toEqual({ kind: "unknown" });
        expect(await journal.deliver(key, event("go"))).toEqual({ kind: "unknown" });
        expect(await journal.history(key, 1, 10)).toEqual([]);
        expect(await journal.remove(key)).toBe(false);
      });
    });

    describe("leases", () => {
      it("gives a run to one worker at a time, under a new epoch each time", async () => {
        const record = await created();
        const first = await claimed(record);
        expect(first).toMatchObject({ lease: { key: record.facts.key, worker: WORKER }, record, inbox: [] });
        expect(await journal.claim(record.facts.key, OTHER, LONG_MS)).toEqual({
          kind: "held",
          owner: WORKER,
        });
        expect(await journal.claim(record.facts.key, WORKER, LONG_MS)).toEqual({
          kind: "held",
          owner: WORKER,
        });
        await journal.release(first.lease);
        const second = await claimed(record, LONG_MS, OTHER);
        expect(second.lease.epoch).toBeGreaterThan(first.lease.epoch);
      });

      it("lets one of many claim", async () => {
        const record = await created();
        const claims = await Promise.all(
          Array.from({ length: 10 }, (_, n) => journal.claim(record.facts.key, `w${n}`, LONG_MS)),
        );
        expect(claims.filter((claim) => claim.kind === "claimed")).toHaveLength(1);
      });

      it("lets another have it once the lease has run out, and shuts out the first", async () => {
        const record = await created();
        const zombie = await claimed(record, LEASE_MS);
        await pass(LEASE_MS + 5);
        const next = await claimed(record, LONG_MS, OTHER);
        expect(await journal.commit(zombie.lease, commitOf(zombie.record))).toEqual({ kind: "conflict" });
        expect(await journal.renew([zombie.lease], LONG_MS)).toEqual({
          lost: [record.facts.key],
          waiting: [],
        });
        await journal.release(zombie.lease);
        expect(await journal.claim(record.facts.key, WORKER, LONG_MS)).toEqual({
          kind: "held",
          owner: OTHER,
        });
        expect(await journal.load(record.facts.key)).toEqual(record);
        await committed(next.lease, next.record);
      });

      it("lets a worker that was late commit as long as nobody else came", async () => {
        const { lease, record } = await claimed(await created(), LEASE_MS);
        await pass(LEASE_MS + 5);
        await committed(lease, record);
        expect(await journal.renew([lease], LONG_MS)).toEqual({ lost: [], waiting: [] });
        expect(await journal.claim(lease.key, OTHER, LONG_MS)).toEqual({ kind: "held", owner: WORKER });
      });

      it("prolongs many leases, and says which are lost and which have messages", async () => {
        const records = await Promise.all([created(), created(), created()]);
        const claims = await Promise.all(records.map((record) => claimed(record, LEASE_MS)));
        const [kept, lost, waiting] = claims.map((claim) => claim.lease) as [Lease, Lease, Lease];
        await journal.release(lost);
        await journal.deliver(waiting.key, event("go", "e1", true));
        expect(await journal.renew([kept, lost, waiting], LONG_MS)).toEqual({
          lost: [lost.key],
          waiting: [waiting.key],
        });
        await pass(LEASE_MS + 5);
        expect(await journal.claim(kept.key, OTHER, LONG_MS)).toMatchObject({ kind: "held" });
      });

      it("is due again at the end of a lease that is not renewed", async () => {
        const record = await created();
        expect(await isDue(record)).toBe(true);
        const before = await journal.now();
        const { lease } = await claimed(record);
        const during = await dueOf(record);
        expect(during.runs).toEqual([]);
        expect(during.nextAt).toBeGreaterThanOrEqual(before + LONG_MS);
        // One that a busy machine cannot outlast first, then one that soon runs out.
        await journal.release(lease);
        await claimed(record, LEASE_MS);
        await pass(LEASE_MS + 5);
        expect(await isDue(record)).toBe(true);
      });

      it("leaves a run of a newer format alone", async () => {
        const given = newRecord();
        const record = { ...given, facts: { ...given.facts, format: 99 } };
        await journal.create(record, []);
        expect(await journal.claim(record.facts.key, WORKER, LONG_MS)).toEqual({ kind: "newer-format" });
        expect(await journal.load(record.facts.key)).toMatchObject({ version: 1, facts: { format: 99 } });
      });
    });

    describe("commit", () => {
      it("changes record, history and times at once, and takes the version on", async () => {
        const { lease, record } = await claimed(await created());
        const change: Partial<RunRecord> = {
          snapshot: '{"value":"charging","context":{"text":"\\"}"}}',
          states: ["charging"],
          accepts: ["cancel", "order.*"],
          effects: { "1.0": effect("1.0"), "1.1": effect("1.1", { notBefore: 5, failures: { A: 2 } }) },
          timers: {
            "1.2": { token: "1.2", id: "xstate.after.1", event: { type: "t" }, dueAt: 4_000_000_000_000 },
          },
          deadlineAt: 4_100_000_000_000,
          buffered: [{ id: "e", event: { type: "later" } }],
          compensations: [
            {
              token: "0.1",
              actor: "refund",
              state: "s",
              input: { value: 1 },
              output: { ref: "x", bytes: 9 },
            },
          ],
        };
        const answer = await journal.commit(
          lease,
          commitOf(record, change, {
            history: [
              { type: "transition", transition: 1, note: "a;b" },
              { type: "effect-scheduled", transition: 1, token: "1.0", payload: { value: { x: [] } } },
            ],
          }),
        );
        expect(answer).toEqual({ kind: "committed", at: expect.any(Number), waiting: false });
        const after = await journal.load(record.facts.key);
        expect(after).toEqual({
          ...record,
          ...change,
          version: 2,
          transition: 1,
          updatedAt: answer.kind === "committed" ? answer.at : 0,
        });
        expect(await texts(record)).toEqual(["1 started ", "2 transition a;b", "3 effect-scheduled "]);
        expect((await journal.history(record.facts.key, 2, 1)).map(({ type }) => type)).toEqual([
          "transition",
        ]);
        expect((await journal.history(record.facts.key, 3, 9))[0]).toMatchObject({
          payload: { value: { x: [] } },
        });
      });

      it("is a conflict from another version or under another epoch, and changes nothing", async () => {
        const { lease, record } = await claimed(await created());
        await journal.deliver(record.facts.key, event("go", "e1", true));
        const [message] = await journal.inbox(lease);
        const now = await committed(lease, record);
        const taken = [message?.position ?? ""];
        const bad = { history: [{ type: "logged" as const, transition: 1 }], taken, release: true };
        expect(await journal.commit(lease, commitOf(record, {}, bad))).toEqual({ kind: "conflict" });
        expect(await journal.commit({ ...lease, epoch: lease.epoch + 1 }, commitOf(now, {}, bad))).toEqual({
          kind: "conflict",
        });
        expect(await journal.commit({ ...lease, worker: OTHER }, commitOf(now, {}, bad))).toEqual({
          kind: "conflict",
        });
        expect(await journal.load(record.facts.key)).toEqual(now);
        expect(await journal.inbox(lease)).toHaveLength(1);
        expect(await texts(record)).toEqual(["1 started "]);
        expect(await journal.claim(record.facts.key, OTHER, LONG_MS)).toEqual({
          kind: "held",
          owner: WORKER,
        });
      });

      it("lets one of two concurrent commits through", async () => {
        const { lease, record } = await claimed(await created());
        const answers = await Promise.all(
          ["a", "b", "c"].map((state) => journal.commit(lease, commitOf(record, { states: [state] }))),
        );
        expect(answers.filter(({ kind }) => kind === "committed")).toHaveLength(1);
      });

      it("ends a run for good", async () => {
        const { lease, record } = await claimed(await created());
        const ended = await committed(lease, record, { status: "succeeded", output: { value: 42 } });
        expect(ended).toMatchObject({ status: "succeeded", output: { value: 42 } });
        expect(ended.finishedAt).toBe(ended.updatedAt);
        expect(await journal.commit(lease, commitOf(ended, { status: "failed" }))).toEqual({
          kind: "conflict",
        });
        expect(await journal.claim(record.facts.key, WORKER, LONG_MS)).toEqual({ kind: "finished" });
        expect(await journal.deliver(record.facts.key, event("go", "x", true))).toEqual({ kind: "finished" });
        expect(await journal.renew([lease], LONG_MS)).toEqual({ lost: [record.facts.key], waiting: [] });
        expect(await dueOf(record)).toEqual({ runs: [], nextAt: undefined });
        expect(await journal.load(record.facts.key)).toEqual(ended);
      });
    });

    describe("what is due", () => {
      it("finds a released run at its timer, never before", async () => {
        const dueAt = (await journal.now()) + 80;
        const record = await parked({
          timers: { "1.0": { token: "1.0", id: "t", event: { type: "t" }, dueAt } },
        });
        const before = await dueOf(record);
        // A machine that is busy may have been slower than the timer.
        if ((await journal.now()) < dueAt) expect(before).toEqual({ runs: [], nextAt: dueAt });
        await pass(100);
        expect(await isDue(record)).toBe(true);
      });

      it("finds the earliest of timers, retries, limits of waiting effects and the deadline", async () => {
        const at = (await journal.now()) + 100_000;
        const timer = (token: string, dueAt: number) => ({
          [token]: { token, id: "t", event: { type: "t" }, dueAt },
        });
        const cases: Partial<RunRecord>[] = [
          { timers: { ...timer("1.0", at + 9), ...timer("1.1", at) } },
          { timers: timer("1.0", at + 9), effects: { "1.1": effect("1.1", { notBefore: at }) } },
          { effects: { "1.1": effect("1.1", { notBefore: 1, waiting: { until: at } }) } },
          { effects: waitingEffect("1.1"), deadlineAt: at },
        ];
        for (const change of cases)
          expect(await dueOf(await parked(change))).toEqual({ runs: [], nextAt: at });
      });

      it("finds a run with an effect to start at once, and never one that only waits", async () => {
        // The first in the store: the other may lie in the same partition.
        expect(await dueOf(await parked({ effects: waitingEffect("1.0") }))).toEqual({
          runs: [],
          nextAt: undefined,
        });
        expect(await isDue(await parked({ effects: { "1.0": effect("1.0") } }))).toBe(true);
      });

      it("does not give a run that has nothing to do", async () => {
        const record = await parked({ effects: waitingEffect("1.0") });
        expect(await journal.claim(record.facts.key, WORKER, LONG_MS)).toEqual({ kind: "idle" });
        await journal.deliver(record.facts.key, completed("1.0"));
        await claimed(record);
      });

      it("keeps a run with an effect to start due after a release without a commit", async () => {
        const record = await parked({ effects: { "1.0": effect("1.0") } });
        const { lease } = await claimed(record);
        expect(await isDue(record)).toBe(false);
        await journal.release(lease);
        expect(await isDue(record)).toBe(true);
      });

      it("gives no more than the limit, those first that wait longest, and says that there is more", async () => {
        const partition = partitionOf({ namespace: "shop", id: "base" });
        const ids: string[] = [];
        for (let n = 0; ids.length < 4; n++)
          if (partitionOf({ namespace: "shop", id: `r${n}` }) === partition) ids.push(`r${n}`);
        for (const id of ids) {
          await created({ id });
          await pass(3);
        }
        const { runs, nextAt } = await journal.due(partition, 3);
        expect(runs.map(({ id }) => id)).toEqual(ids.slice(0, 3));
        expect(nextAt).toBeLessThanOrEqual(await journal.now());
      });
    });

    describe("inbox", () => {
      it("keeps messages in order of arrival until a commit takes them", async () => {
        const { lease, record } = await claimed(await created());
        for (let n = 0; n < 12; n++) await journal.deliver(record.facts.key, event("go", `e${n}`, true));
        const inbox = await journal.inbox(lease);
        expect(inbox.map(({ message }) => "id" in message && message.id)).toEqual(
          Array.from({ length: 12 }, (_, n) => `e${n}`),
        );
        expect(inbox[0]?.message).toEqual({
          kind: "event",
          id: "e0",
          event: { type: "go", amount: 7 },
          buffered: true,
        });
        const taken = [inbox[0]?.position ?? "", inbox[11]?.position ?? ""];
        await committed(lease, record, {}, { taken });
        const left = await journal.inbox(lease);
        expect(left.map(({ position }) => position)).toEqual(
          inbox.slice(1, 11).map(({ position }) => position),
        );
      });

      it("never gives a position twice, also after it was empty", async () => {
        const { lease, record } = await claimed(await created());
        await journal.deliver(record.facts.key, event("go", "a", true));
        const [first] = await journal.inbox(lease);
        await committed(lease, record, {}, { taken: [first?.position ?? ""] });
        expect(await journal.inbox(lease)).toEqual([]);
        await journal.deliver(record.facts.key, event("go", "b", true));
        const [second] = await journal.inbox(lease);
        expect(second?.position).not.toBe(first?.position);
      });

      it("makes a parked run due and names the owner of a claimed one", async () => {
        const record = await parked({ effects: waitingEffect("1.0"), accepts: ["go"] });
        expect(await isDue(record)).toBe(false);
        expect(await journal.deliver(record.facts.key, event("go"))).toEqual({ kind: "accepted" });
        expect(await isDue(record)).toBe(true);
        const claim = await claimed(record);
        expect(claim.inbox).toHaveLength(1);
        expect(await journal.deliver(record.facts.key, event("go"))).toEqual({
          kind: "accepted",
          owner: WORKER,
        });
        expect(await isDue(record)).toBe(false);
        await journal.release(claim.lease);
        await claimed(record, LEASE_MS);
        await pass(LEASE_MS + 5);
        expect(await journal.deliver(record.facts.key, event("go"))).toEqual({ kind: "accepted" });
        expect(await isDue(record)).toBe(true);
      });

      it("loses no wake-up when a message arrives as its worker lets go", async () => {
        const { lease, record } = await claimed(await created());
        await journal.deliver(record.facts.key, event("go", "late", true));
        const answer = await journal.commit(
          lease,
          commitOf(record, { effects: waitingEffect("1.0") }, { release: true }),
        );
        expect(answer).toMatchObject({ kind: "committed", waiting: true });
        // The lease is kept: whoever committed goes on with what waits.
        expect(await journal.claim(record.facts.key, OTHER, LONG_MS)).toEqual({
          kind: "held",
          owner: WORKER,
        });
        await journal.release(lease);
        expect(await isDue(record)).toBe(true);
      });

      it("takes an event once by its id, also after it was taken from the inbox", async () => {
        const { lease, record } = await claimed(await created());
        const key = record.facts.key;
        const answers = await Promise.all([1, 2, 3].map(() => journal.deliver(key, event("go", "e1", true))));
        expect(answers.map(({ kind }) => kind).toSorted()).toEqual(["accepted", "duplicate", "duplicate"]);
        const [message] = await journal.inbox(lease);
        await committed(lease, record, {}, { taken: [message?.position ?? ""] });
        expect(await journal.deliver(key, event("go", "e1", true))).toEqual({ kind: "duplicate" });
        expect(await journal.inbox(lease)).toEqual([]);
      });

      it("refuses an event that is not accepted now, unless it is to be kept", async () => {
        const record = await parked({ effects: waitingEffect("1.0"), accepts: ["approve", "order.*"] });
        const key = record.facts.key;
        const kinds = async (...types: string[]) =>
          (await Promise.all(types.map((type) => journal.deliver(key, event(type))))).map(({ kind }) => kind);
        expect(await kinds("reject", "appr", "approve.x", "orders", "*")).toEqual(Array(5).fill("refused"));
        expect(await kinds("approve", "order.paid", "order", "order.a.b")).toEqual(Array(4).fill("accepted"));
        expect(await journal.deliver(key, event("reject", "kept", true))).toEqual({ kind: "accepted" });
      });

      it("does not take a refused event for one that it has seen", async () => {
        const record = await parked({ effects: waitingEffect("1.0"), accepts: [] });
        expect(await journal.deliver(record.facts.key, event("go", "e1"))).toEqual({ kind: "refused" });
        expect(await journal.deliver(record.facts.key, event("go", "e1", true))).toEqual({
          kind: "accepted",
        });
      });

      it("takes any event with * and before the first transition, and none once the end is settled", async () => {
        const any = await parked({ effects: waitingEffect("1.0"), accepts: ["*"] });
        expect(await journal.deliver(any.facts.key, event("whatever"))).toEqual({ kind: "accepted" });
        expect(await journal.deliver((await created()).facts.key, event("go"))).toEqual({ kind: "accepted" });
        const ending = await parked({
          effects: waitingEffect("1.0"),
          accepts: ["*"],
          ending: { status: "failed", error: { type: "E", message: "m" } },
        });
        expect(await journal.deliver(ending.facts.key, event("go"))).toEqual({ kind: "refused" });
      });

      it("takes completions and timers of open tokens once, and drops those of others", async () => {
        const record = await parked({
          effects: { ...waitingEffect("1.0"), ...waitingEffect("11.0") },
          timers: { "1.1": { token: "1.1", id: "t", event: { type: "t" }, dueAt: 4_000_000_000_000 } },
        });
        const deliver = async (message: Message) => (await journal.deliver(record.facts.key, message)).kind;
        expect(await deliver(completed("1.0"))).toBe("accepted");
        expect(await deliver(completed("1.0"))).toBe("duplicate");
        expect(await deliver(completed("1.1"))).toBe("stale");
        expect(await deliver(completed("2.0"))).toBe("stale");
        expect(await deliver(completed("1"))).toBe("stale");
        expect(await deliver(completed("11.0.4"))).toBe("accepted");
        expect(await deliver(completed("11.0.5"))).toBe("accepted");
        expect(await deliver(completed("11.0.4"))).toBe("duplicate");
        expect(await deliver({ kind: "timer", token: "1.1" })).toBe("accepted");
        expect(await deliver({ kind: "timer", token: "1.1" })).toBe("duplicate");
        expect(await deliver({ kind: "timer", token: "1.0" })).toBe("stale");
        expect(await deliver({ kind: "heartbeat", token: "11.0", details: { at: 1 } })).toBe("accepted");
        expect(await deliver({ kind: "heartbeat", token: "11.0" })).toBe("accepted");
        expect(await deliver({ kind: "heartbeat", token: "12.0" })).toBe("stale");
      });

      it("takes a completion of the present attempt alone, once, and as well after an earlier one of its token", async () => {
        const first = await parked({ effects: waitingEffect("1.0") });
        const { key } = first.facts;
        const deliver = async (message: Message) => (await journal.deliver(key, message)).kind;
        const of = (token: string, attempt: number): Message => ({ ...completed(token), attempt }) as Message;
        expect(await deliver(of("1.0", 2))).toBe("stale");
        expect(await deliver(of("1.0", 1))).toBe("accepted");
        expect(await deliver(of("1.0", 1))).toBe("duplicate");
        expect(await deliver(completed("1.0"))).toBe("duplicate");
        const { lease, record, inbox } = await claimed(first);
        const effects = { "1.0": effect("1.0", { waiting: {}, attempt: 12 }) };
        await committed(lease, record, { effects }, { taken: inbox.map(({ position }) => position) });
        expect(await deliver(of("1.0", 1))).toBe("duplicate");
        expect(await deliver(of("1.0", 11))).toBe("stale");
        expect(await deliver({ kind: "heartbeat", token: "1.0", attempt: 1 })).toBe("stale");
        expect(await deliver({ kind: "heartbeat", token: "1.0", attempt: 12 })).toBe("accepted");
        expect(await deliver(of("1.0", 12))).toBe("accepted");
        expect(await deliver(of("1.0", 12))).toBe("duplicate");
        // Items keep their attempts outside the record.
        expect(await deliver(of("1.0.3", 2))).toBe("accepted");
        expect(await deliver(of("1.0.3", 3))).toBe("accepted");
      });

      it("keeps one of each order in the inbox, and takes the next after it", async () => {
        const { lease, record } = await claimed(await created());
        const key = record.facts.key;
        const orders: Message[] = [
          { kind: "cancel", reason: "why" },
          { kind: "terminate", reason: "why" },
          { kind: "deadline" },
        ];
        for (const order of orders) {
          expect(await journal.deliver(key, order)).toEqual({ kind: "accepted", owner: WORKER });
          expect(await journal.deliver(key, order)).toEqual({ kind: "duplicate" });
        }
        const inbox = await journal.inbox(lease);
        expect(inbox.map(({ message }) => message)).toEqual(orders);
        const now = await committed(lease, record, {}, { taken: [inbox[0]?.position ?? ""] });
        expect(await journal.deliver(key, { kind: "deadline" })).toEqual({ kind: "duplicate" });
        expect(await journal.deliver(key, { kind: "cancel", reason: "again" })).toMatchObject({
          kind: "accepted",
        });
        await committed(lease, now);
      });
    });

    describe("maps", () => {
      it("keeps items and the first result of each, and counts", async () => {
        const { lease, record } = await claimed(await created());
        const key = record.facts.key;
        expect(await journal.putItems(lease, "1.0", 0, ["0", "1"])).toBe("stored");
        expect(await journal.putItems(lease, "1.0", 2, ["2"])).toBe("stored");
        expect(await journal.putItems(lease, "1.0", 2, ["2"])).toBe("stored");
        expect(await journal.getItems(key, "1.0", 1, 10)).toEqual(["1", "2"]);
        await committed(lease, record, { effects: { "1.0": effect("1.0", { map: { items: 3 } }) } });
        expect(await journal.putResult(lease, "1.0", 2, '"c"', false)).toBe("stored");
        expect(await journal.putResult(lease, "1.0", 2, '"d"', true)).toBe("duplicate");
        expect(await journal.putResult(lease, "1.0", 0, "{}", true)).toBe("stored");
        expect(await journal.getResults(key, "1.0", 0, 3)).toEqual(["{}", undefined, '"c"']);
        expect(await journal.getCounts(key, "1.0")).toEqual({ done: 2, failed: 1 });
        expect(await journal.getCounts(key, "9.9")).toEqual({ done: 0, failed: 0 });
      });

      it("keeps notes beside items that have no result yet, each kind by itself", async () => {
        const { lease, record } = await claimed(await created());
        const { key } = record.facts;
        const now = await committed(lease, record, { effects: waitingEffect("1.0") });
        expect(await journal.getItemNotes(key, "1.0", 0, 2)).toEqual([{}, {}]);
        const note = (index: number, what: ItemNote, text: string) =>
          journal.putItemNote(lease, "1.0", index, what, text);
        expect(await note(1, "state", "s")).toBe("stored");
        expect(await note(1, "outcome", "o")).toBe("stored");
        expect(await note(12, "beat", "b")).toBe("stored");
        expect(await note(1, "state", "s2")).toBe("stored");
        expect(await journal.getItemNotes(key, "1.0", 1, 12)).toEqual([
          { state: "s2", outcome: "o" },
          ...Array.from({ length: 10 }, () => ({})),
          { beat: "b" },
        ]);
        expect(await journal.putResult(lease, "1.0", 1, '"r"', false)).toBe("stored");
        expect(await journal.getItemNotes(key, "1.0", 1, 1)).toEqual([{}]);
        expect(await journal.getCounts(key, "1.0")).toEqual({ done: 1, failed: 0 });
        const other = { ...lease, epoch: lease.epoch - 1 };
        expect(await journal.putItemNote(other, "1.0", 3, "state", "x")).toBe("conflict");
        await committed(lease, now, { effects: {} }, { closedMaps: ["1.0"] });
        expect(await note(3, "state", "x")).toBe("conflict");
        expect(await journal.getItemNotes(key, "1.0", 12, 1)).toEqual([{}]);
      });

      it("takes neither items nor results from one that lost its lease, nor results of a closed effect", async () => {
        const { lease, record } = await claimed(await created());
        const old = { ...lease, epoch: lease.epoch - 1 };
        expect(await journal.putItems(old, "1.0", 0, ["0"])).toBe("conflict");
        expect(await journal.putResult(lease, "1.0", 0, "0", false)).toBe("conflict");
        await committed(lease, record, { effects: { "1.0": effect("1.0", { map: { items: 1 } }) } });
        expect(await journal.putResult(old, "1.0", 0, "0", false)).toBe("conflict");
        expect(await journal.getItems(record.facts.key, "1.0", 0, 5)).toEqual([]);
      });

      it("removes them when the commit closes the map or ends the run", async () => {
        const { lease, record } = await claimed(await created());
        const key = record.facts.key;
        const maps = {
          "1.0": effect("1.0", { map: { items: 1 } }),
          "1.1": effect("1.1", { map: { items: 1 } }),
        };
        for (const token of Object.keys(maps)) await journal.putItems(lease, token, 0, ["x"]);
        let now = await committed(lease, record, { effects: maps });
        for (const token of Object.keys(maps)) await journal.putResult(lease, token, 0, "y", false);
        now = await committed(lease, now, { effects: { "1.1": maps["1.1"] } }, { closedMaps: ["1.0"] });
        expect(await journal.getItems(key, "1.0", 0, 1)).toEqual([]);
        expect(await journal.getResults(key, "1.0", 0, 1)).toEqual([]);
        expect(await journal.getItems(key, "1.1", 0, 1)).toEqual(["x"]);
        await committed(lease, now, { effects: {}, status: "terminated" });
        expect(await journal.getItems(key, "1.1", 0, 1)).toEqual([]);
        expect(await journal.getCounts(key, "1.1")).toEqual({ done: 0, failed: 0 });
      });
    });

    describe("ended runs", () => {
      const ended = async (change: Partial<RunRecord> = {}, given: Parameters<typeof newRecord>[0] = {}) => {
        const claim = await claimed(await created(given));
        return committed(claim.lease, claim.record, {
          status: "failed",
          error: { type: "E", message: "m" },
          ...change,
        });
      };

      it("can be taken up again, once", async () => {
        const failed = await ended();
        const { finishedAt: _gone, error: _none, ...rest } = failed;
        const again: RunRecord = { ...rest, status: "running", effects: { "2.0": effect("2.0") } };
        const history = [{ type: "resumed" as const, transition: 1 }];
        const answers = await Promise.all([1, 2].map(() => journal.reopen(failed.version, again, history)));
        expect(answers.toSorted()).toEqual(["conflict", "reopened"]);
        const now = await journal.load(failed.facts.key);
        expect(now).toMatchObject({ status: "running", version: failed.version + 1, effects: { "2.0": {} } });
        expect(now).not.toHaveProperty("finishedAt");
        expect(await isDue(failed)).toBe(true);
        expect(await texts(failed)).toEqual(["1 started ", "2 resumed "]);
        const list = async (status: "failed" | "running") =>
          (await journal.list({ namespace: "shop", status, limit: 5 })).runs.map(({ key }) => key.id);
        expect(await list("failed")).toEqual([]);
        expect(await list("running")).toEqual([failed.facts.key.id]);
        const claim = await claimed(failed);
        await committed(claim.lease, claim.record, { status: "succeeded" });
        expect(await journal.reopen(failed.version, again, history)).toBe("conflict");
      });

      it("does not take up again what still runs", async () => {
        const record = await created();
        expect(await journal.reopen(record.version, record, [])).toBe("conflict");
        expect(await journal.load(record.facts.key)).toEqual(record);
      });

      it("are found by their namespaces as long as they are kept", async () => {
        const namespace = `ns-${randomUUID()}`;
        const { lease, record } = await claimed(await created({ namespace }));
        await created({ namespace: `${namespace}-running` });
        expect(await journal.endedNamespaces()).not.toContain(namespace);
        await committed(lease, record, { status: "succeeded" });
        expect(await journal.endedNamespaces()).toContain(namespace);
        expect(await journal.endedNamespaces()).not.toContain(`${namespace}-running`);
        await journal.remove(record.facts.key);
        expect(await journal.endedNamespaces()).not.toContain(namespace);
      });

      it("are removed whole, and their id is free again; running ones are not", async () => {
        const running = await created();
        expect(await journal.remove(running.facts.key)).toBe(false);
        expect(await journal.load(running.facts.key)).toEqual(running);
        const failed = await ended();
        expect(await journal.remove(failed.facts.key)).toBe(true);
        expect(await journal.load(failed.facts.key)).toBeUndefined();
        expect(await journal.history(failed.facts.key, 1, 9)).toEqual([]);
        expect((await journal.list({ namespace: "shop", limit: 9 })).runs.map(({ key }) => key.id)).toEqual([
          running.facts.key.id,
        ]);
        const again = await created({ id: failed.facts.key.id });
        expect(again.version).toBe(1);
        expect(await texts(again)).toEqual(["1 started "]);
      });
    });

    describe("list", () => {
      const ids = async (filter: Partial<RunFilter> = {}): Promise<string[]> => {
        const found: string[] = [];
        let after: string | undefined;
        do {
          const page = await journal.list({
            namespace: "shop",
            limit: 3,
            ...filter,
            ...(after && { after }),
          });
          expect(page.runs.length).toBeLessThanOrEqual(filter.limit ?? 3);
          found.push(...page.runs.map(({ key }) => key.id));
          after = page.next;
        } while (after !== undefined);
        return found;
      };

      it("pages through all runs of a namespace, newest first, each once", async () => {
        const given: RunRecord[] = [];
        for (let n = 0; n < 25; n++) {
          given.push(await created({ id: `run-${n}`, namespace: n === 7 ? "other" : "shop" }));
          if (n % 4 === 0) await pass(2);
        }
        const mine = given.filter(({ facts }) => facts.key.namespace === "shop");
        const sorted = mine
          .toSorted((a, b) => b.startedAt - a.startedAt || (a.facts.key.id < b.facts.key.id ? 1 : -1))
          .map(({ facts }) => facts.key.id);
        expect(await ids()).toEqual(sorted);
        expect(await ids({ limit: 24 })).toEqual(sorted);
        expect(await ids({ limit: 100 })).toEqual(sorted);
        expect(await ids({ namespace: "other" })).toEqual(["run-7"]);
      });

      it("finds by workflow, status and time, and shows where they are", async () => {
        const first = await created({ id: "a", workflow: "order" });
        await pass(3);
        const second = await created({ id: "b", workflow: "refund" });
        const claim = await claimed(second);
        await committed(claim.lease, claim.record, { status: "succeeded", states: ["done"] });
        await pass(3);
        const third = await created({ id: "c", workflow: "order" });
        const open = await claimed(third);
        await committed(open.lease, open.record, { states: ["charging", "x.y"] });
        expect(await ids({ workflow: "order" })).toEqual(["c", "a"]);
        expect(await ids({ status: "succeeded" })).toEqual(["b"]);
        expect(await ids({ status: "running", workflow: "order" })).toEqual(["c", "a"]);
        expect(await ids({ status: "running", workflow: "refund" })).toEqual([]);
        expect(await ids({ startedAfter: second.startedAt })).toEqual(["c", "b"]);
        expect(await ids({ startedBefore: second.startedAt })).toEqual(["a"]);
        expect(await ids({ startedAfter: first.startedAt, startedBefore: third.startedAt })).toEqual([
          "b",
          "a",
        ]);
        const { runs } = await journal.list({ namespace: "shop", limit: 9 });
        expect(runs[0]).toEqual({
          key: third.facts.key,
          workflow: "order",
          status: "running",
          states: ["charging", "x.y"],
          startedAt: third.startedAt,
        });
        expect(runs[1]).toMatchObject({ status: "succeeded", finishedAt: expect.any(Number) });
      });
    });
  });
}
