import type { FunctionWorld } from "../../../kube/function-world.ts";
import type { Log } from "../../../net/log.ts";
import type { Payloads } from "../../../net/payloads.ts";
import type { RedisConnection } from "../../../net/redis.ts";
import type { Deliver } from "../delivery/event.ts";
import type { AcceptInvocation, BuryInvocation } from "./accept.ts";
import { invocationAcceptor } from "./accept-invocation.ts";
import { bytesInHand } from "./bytes-in-hand.ts";
import { type Dispatcher, startDispatcher } from "./dispatcher.ts";
import type { DestinationReport, Invocation, InvocationJournal, Settlement } from "./journal.ts";
import { measureQueues } from "./measure-queues.ts";
import { performInvocation } from "./perform-invocation.ts";
import { redisJournal } from "./redis-journal.ts";
import { keepHouse } from "./keep-house.ts";
import { orphans } from "./orphans.ts";
import { type Spills, storageSpills } from "./spills.ts";
import { sourceKind, type TriggerMetrics } from "../trigger-metrics.ts";
import { outbox } from "./outbox.ts";
import { type PublishToTopic, tellDestination } from "./tell-destination.ts";

export interface InvocationsOptions {
  readonly redis: RedisConnection;
  /** Undefined: nothing is accepted. */
  readonly redisUrl: string | undefined;
  readonly functions: FunctionWorld;
  readonly deliver: Deliver;
  /** Asked when there is something to publish. */
  readonly publish: () => PublishToTopic | undefined;
  readonly log: Log;
  /** Of this replica. */
  readonly worker: string;
  readonly slots: number;
  readonly resultTtlMs: number;
  readonly deadLetterTtlMs: number;
  /** Where bodies and results are that are too large for their records. */
  readonly payloads: Payloads;
  readonly metrics: TriggerMetrics;
  /** For tests; else as below. */
  readonly leaseMs?: number;
  readonly resultPatienceMs?: number;
  readonly sweepMs?: number;
}

/** Asynchronous invocations of one replica: the durable queue, and the worker that delivers from it. */
export interface Invocations {
  readonly accept: AcceptInvocation;
  readonly bury: BuryInvocation;
  readonly journal: InvocationJournal;
  readonly spills: Spills;
  /** Begins to deliver. */
  start(): void;
  running(): number;
  stop(graceMs: number): Promise<void>;
}

const LEASE_MS = 20_000;
const SWEEP_MS = 2_000;
const MEASURED_EVERY_MS = 15_000;
const MAX_WAITING = 100_000;
const FUNCTION_CONCURRENCY = 100;
/** Of bodies that are being delivered and do not lie in their records: a pod's memory is finite. */
const LARGE_BYTES_IN_HAND = 128 * 2 ** 20;
/** The longest delay, the longest age, and some more for the last attempt. */
const LONGEST_LIFE_MS = 15 * 24 * 3_600_000;

export function createInvocations(options: InvocationsOptions): Invocations {
  const { log, functions, metrics } = options;
  const redis = () => options.redis.client();
  const journal = redisJournal(redis, {
    leaseMs: options.leaseMs ?? LEASE_MS,
    resultTtlMs: options.resultTtlMs,
    deadLetterTtlMs: options.deadLetterTtlMs,
    maxWaiting: MAX_WAITING,
  });
  const spills = storageSpills(options.payloads, {
    body: LONGEST_LIFE_MS + options.deadLetterTtlMs,
    result: options.resultTtlMs,
  });
  const unclear = orphans(journal, spills);
  const acceptor = invocationAcceptor({
    journal,
    functions,
    spills,
    orphans: unclear,
    assertReady: () => void redis(),
  });
  let dispatcher: Dispatcher | undefined;
  const accept: AcceptInvocation = async (acceptance) => {
    const accepted = await acceptor.accept(acceptance);
    if (!accepted.duplicate) metrics.accepted.series({ source: sourceKind(acceptance.source) }).value += 1;
    if (acceptance.delayMs && !accepted.duplicate) dispatcher?.expect(accepted.queue, acceptance.delayMs);
    return accepted;
  };
  const whole = {
    get: (id: string) => wholeInvocation(journal, spills, id),
    told: (id: string, report: DestinationReport) => journal.told(id, report),
  };
  const tell = (id: string): Promise<void> =>
    tellDestination({ journal: whole, accept, spills, publish: options.publish(), now: Date.now }, id);
  const stopping = new AbortController();
  const tellers = outbox({ journal, tell, log });

  const settled = (invocation: Invocation, settlement: Settlement): void => {
    const { id, spill } = invocation;
    metrics.settled.series({ outcome: settlement.kind }).value += 1;
    if (tells(invocation, settlement)) tellers.tell([id]);
    const after = async (): Promise<void> => {
      if (settlement.kind !== "again" && settlement.kind !== "dead" && spill !== undefined) {
        await spills.remove(spill);
        await journal.unspilled(id);
      }
    };
    after().catch((error: unknown) => log.debug("Left to the next round of housekeeping", { id, error }));
  };

  return {
    accept,
    bury: async (acceptance, failure, attempts) => {
      const buried = await acceptor.bury(acceptance, failure, attempts);
      metrics.buried.series({ source: sourceKind(acceptance.source) }).value += 1;
      return buried;
    },
    journal,
    spills,
    start: () => {
      if (!options.redisUrl) return;
      dispatcher = dispatcherOf({ ...options, redisUrl: options.redisUrl }, { journal, spills, settled });
      void measureQueues({ journal, metrics, signal: stopping.signal, everyMs: MEASURED_EVERY_MS });
      void keepHouse({ journal, spills, unclear, tellers, log, signal: stopping.signal });
    },
    running: () => dispatcher?.running() ?? 0,
    stop: async (graceMs) => {
      stopping.abort();
      await dispatcher?.stop(graceMs);
    },
  };
}

interface Parts {
  readonly journal: InvocationJournal;
  readonly spills: Spills;
  readonly settled: (invocation: Invocation, settlement: Settlement) => void;
}

/** Begins to deliver. */
function dispatcherOf(
  options: InvocationsOptions & { readonly redisUrl: string },
  { journal, spills, settled }: Parts,
): Dispatcher {
  const { functions, deliver, resultPatienceMs } = options;
  const inHand = bytesInHand(LARGE_BYTES_IN_HAND);
  const perform = {
    deliver,
    functions,
    spills,
    inHand,
    resultPatienceMs,
    now: Date.now,
    random: Math.random,
  };
  return startDispatcher({
    journal,
    redisUrl: options.redisUrl,
    log: options.log,
    worker: options.worker,
    slots: options.slots,
    leaseMs: options.leaseMs ?? LEASE_MS,
    sweepMs: options.sweepMs ?? SWEEP_MS,
    limitOf: (queue) => {
      const [namespace = "", name = ""] = queue.split("/");
      return functions.function(namespace, name)?.spec.invocation?.concurrency ?? FUNCTION_CONCURRENCY;
    },
    perform: (invocation, signal) => performInvocation(perform, invocation, signal),
    tells,
    onSettled: settled,
  });
}

const tells = ({ onSuccess, onFailure }: Invocation, { kind }: Settlement): boolean =>
  (kind === "done" && onSuccess !== undefined) || (kind === "dead" && onFailure !== undefined);

/** With its result, wherever that is. */
async function wholeInvocation(
  journal: InvocationJournal,
  spills: Spills,
  id: string,
): Promise<Invocation | undefined> {
  const invocation = await journal.get(id);
  const spill = invocation?.result?.elsewhere?.spill;
  const body = spill === undefined ? undefined : await spills.get(spill);
  if (!invocation?.result || body === undefined) return invocation;
  return { ...invocation, result: { ...invocation.result, body } };
}
