import { PlatformError } from "../../../api/errors.ts";
import { MAX_INVOCATION_BYTES } from "../../../api/wire/invocations.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import type { Failure } from "../delivery/event.ts";
import type { Acceptance, Accepted, BuryInvocation } from "./accept.ts";
import { newInvocationId, queueOf } from "./invocation-id.ts";
import type { InvocationFacts, InvocationJournal, NewInvocation } from "./journal.ts";
import { pinTarget } from "./pin-target.ts";
import { policyOf } from "./policy.ts";
import { removeAll } from "./redrive-dead-letters.ts";
import type { Orphans } from "./orphans.ts";
import { INLINE_BYTES, type Spills } from "./spills.ts";

export interface AcceptDeps {
  readonly journal: Pick<InvocationJournal, "accept" | "bury">;
  readonly functions: Pick<FunctionWorld, "function" | "alias" | "version" | "versionsOf" | "isSynced">;
  readonly spills: Pick<Spills, "put" | "remove">;
  readonly orphans: Pick<Orphans, "suspect">;
  /** @throws {PlatformError} redis_unavailable, when there is no need to try */
  readonly assertReady: () => void;
}

export interface InvocationAcceptor {
  readonly accept: (acceptance: Acceptance) => Promise<Queued>;
  readonly bury: BuryInvocation;
}

interface Queued extends Accepted {
  readonly queue: string;
}

const LONGEST_DELAY_MS = 7 * 24 * 3_600_000;

/** Accepts invocations: resolved, pinned and durable when the promise resolves. */
export function invocationAcceptor(deps: AcceptDeps): InvocationAcceptor {
  return {
    accept: (acceptance) => stored(deps, acceptance, (invocation) => deps.journal.accept(invocation)),
    bury: (acceptance, failure: Failure, attempts) =>
      stored(deps, acceptance, (invocation) => deps.journal.bury(invocation, failure, attempts)),
  };
}

async function stored(
  deps: AcceptDeps,
  acceptance: Acceptance,
  store: (invocation: NewInvocation) => Promise<Accepted>,
): Promise<Queued> {
  const { functions } = deps;
  if (!functions.isSynced())
    throw new PlatformError("function_not_ready", "The functions are not known yet: try again");
  const invocation = newInvocation(functions, acceptance);
  const { body } = acceptance.event;
  const accepted =
    body.length > INLINE_BYTES
      ? await storedApart(deps, invocation, body, store)
      : await store({ ...invocation, body });
  const { namespace, target } = invocation.facts;
  return { ...accepted, queue: queueOf(namespace, target) };
}

/** The body first, so that no record names one that is not there. */
async function storedApart(
  { spills, orphans, assertReady }: AcceptDeps,
  invocation: Omit<NewInvocation, "body">,
  body: Uint8Array,
  store: (invocation: NewInvocation) => Promise<Accepted>,
): Promise<Accepted> {
  const { id, namespace } = invocation.facts;
  assertReady();
  const spill = await spills.put(namespace, body, "body");
  try {
    const accepted = await store({ ...invocation, body, spill });
    if (accepted.duplicate) await removeAll(spills, [spill]);
    return accepted;
  } catch (error) {
    if (error instanceof PlatformError && error.code === "queue_full") await removeAll(spills, [spill]);
    // Redis may have taken it, or may yet: then the record needs its body.
    else orphans.suspect(id, spill);
    throw error;
  }
}

function newInvocation(
  functions: AcceptDeps["functions"],
  acceptance: Acceptance,
): Omit<NewInvocation, "body"> {
  const { event, source, delayMs = 0, depth = 0 } = acceptance;
  const size = event.body.length;
  if (size > MAX_INVOCATION_BYTES)
    throw new PlatformError(
      "body_too_large",
      `Cannot accept the invocation: its body may have ${MAX_INVOCATION_BYTES} bytes, got ${size}`,
    );
  if (!(delayMs >= 0 && delayMs <= LONGEST_DELAY_MS))
    throw new PlatformError(
      "bad_request",
      `Cannot accept the call: its delay must be at most 7d, got ${delayMs} ms`,
    );
  const { namespace } = event;
  const pin = pinTarget(functions, namespace, acceptance.target, event.id);
  const { target, function: fn } = pin;
  const id = newInvocationId(queueOf(namespace, target));
  const spec = fn?.spec.invocation;
  const onSuccess = acceptance.onSuccess ?? spec?.onSuccess;
  const { body: _, ...head } = event;
  const facts: InvocationFacts = {
    id,
    namespace,
    target,
    pinned: pin.pinned || acceptance.pinned === true,
    source,
    event: { ...head, id: event.id === "" ? id : event.id },
    payloadBytes: size,
    depth,
    policy: policyOf(spec, acceptance.policy),
    ...(onSuccess ? { onSuccess } : {}),
    ...(spec?.onFailure ? { onFailure: spec.onFailure } : {}),
  };
  // An event that has an id of its own is the same event when it comes again.
  const dedupKey = acceptance.dedupKey ?? (event.id === "" ? undefined : `${source}\n${event.id}`);
  return { facts, delayMs, ...(dedupKey === undefined ? {} : { dedupKey }) };
}
