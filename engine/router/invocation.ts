import { performance } from "node:perf_hooks";
import type { ErrorCode, PlatformError } from "../../api/errors.ts";
import type { Endpoint } from "./endpoint.ts";
import { type FunctionSlot, whyNotServed } from "./function-table.ts";
import type { Exchange } from "./http/types.ts";
import type { Revision, Waiter } from "./revision.ts";
import { PLAN_UPGRADE } from "./serving-plan.ts";

/** What a request to a function is from its match to its end. Made once per request, always of this shape. */
export class Invocation implements Waiter {
  previous: Invocation | undefined = undefined;
  next: Invocation | undefined = undefined;
  queued = false;
  queuedAtMs = 0;
  /** When it got its slot (`performance.now()`), if it had to wait; else 0. */
  dispatchedAtMs = 0;
  readonly exchange: Exchange;
  readonly slot: FunctionSlot;
  revision: Revision;
  /** The pod that holds it; undefined while it waits or is answered locally. */
  endpoint: Endpoint | undefined = undefined;
  readonly requestId: string;
  readonly traceparent: string;
  /** Header lines of this request alone. */
  readonly lines: string;
  /** Request target for pods of the direct contract, and for those of the reference system's. */
  readonly directTarget: string;
  readonly referenceTarget: string;
  /** Header lines that the answer gets because of the trigger's corsConfig; undefined = it has none. */
  readonly corsLines: string | undefined;
  /** `PLAN_CORS`, `PLAN_INTERNAL` or 0. */
  readonly planBits: number;
  /** Attempts that failed for another reason than a busy pod. */
  failures = 0;
  /** Code of the error that the router answered with. */
  code: ErrorCode | "" = "";
  readonly #replyError: (invocation: Invocation, error: PlatformError) => void;

  constructor(
    facts: InvocationFacts,
    slot: FunctionSlot,
    revision: Revision,
    replyError: (invocation: Invocation, error: PlatformError) => void,
  ) {
    this.exchange = facts.exchange;
    this.slot = slot;
    this.revision = revision;
    this.requestId = facts.requestId;
    this.traceparent = facts.traceparent;
    this.lines = facts.lines;
    this.directTarget = facts.directTarget;
    this.referenceTarget = facts.referenceTarget;
    this.corsLines = facts.corsLines;
    this.planBits = facts.planBits;
    this.#replyError = replyError;
  }

  dispatch(endpoint: Endpoint): void {
    const { exchange } = this;
    const { plan } = this.revision;
    this.endpoint = endpoint;
    if (this.queuedAtMs !== 0) this.dispatchedAtMs = performance.now();
    const { upgrade } = exchange;
    const relayPlan = endpoint.plans[upgrade ? this.planBits | PLAN_UPGRADE : this.planBits];
    // A revision gets requests only after a function was bound to it, which equips all its pods.
    if (plan === undefined || relayPlan === undefined)
      throw new Error(`Pod "${endpoint.podName}" was not equipped`);
    exchange.setDeadline(upgrade ? plan.tunnelDeadlineMs : plan.deadlineMs);
    const target = endpoint.servesRoot ? this.referenceTarget : this.directTarget;
    const headers = (upgrade ? endpoint.tunnelHeaders : endpoint.headers) + this.lines;
    exchange.relay(endpoint.upstream, target, headers, relayPlan);
  }

  refuse(error: PlatformError): void {
    this.#replyError(this, error);
  }

  waiting(waitMs: number): void {
    this.exchange.setDeadline(waitMs);
  }

  moved(to: Revision): void {
    this.revision = to;
  }

  home(): Revision | PlatformError {
    return this.slot.current ?? whyNotServed(this.slot);
  }
}

export interface InvocationFacts {
  readonly exchange: Exchange;
  readonly requestId: string;
  readonly traceparent: string;
  readonly lines: string;
  readonly directTarget: string;
  readonly referenceTarget: string;
  readonly corsLines: string | undefined;
  readonly planBits: number;
}
