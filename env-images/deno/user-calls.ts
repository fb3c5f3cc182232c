/**
 * User requests in a pod.
 *
 * 1. Admission and the count that it relies on happen in one turn of the event loop.
 * 2. User code runs only through `invoke`, inside the scope of its exchange.
 * 3. Each admitted request ends in exactly one reply and one release of its slot (see `exchange.ts`).
 */
import { HEADER_REQUEST_ID, HEADER_REVISION, HEADER_TIMEOUT_MS } from "../../api/headers.ts";
import { limitStream } from "./bytes.ts";
import { Running } from "./deadlines.ts";
import { Exchange, type ExchangeOwner } from "./exchange.ts";
import { bindRequest, describeError } from "./intercept.ts";
import type { Invoke } from "./invoke.ts";
import type { Log } from "./log.ts";
import { MalformedBody } from "./node-context.ts";
import { type Assignment, type Pod, refusal } from "./pod.ts";
import {
  hasInstance,
  headersGet,
  NativePromise,
  NativeRequest,
  now,
  promiseRace,
  promiseResolve,
  promiseThen,
  randomUuid,
  requestBody,
  requestHeaders,
  requestMethod,
  startTimer,
  toNumber,
} from "./primordials.ts";
import { errorReply, refusalReply, toResponse } from "./reply.ts";
import type { RequestScope } from "./request-scope.ts";

type Info = Deno.ServeHandlerInfo;
type Answer = Response | Promise<Response>;

/** How long a request above the limit waits for a reply that is on its way out. */
const FLUSH_WAIT_MS = 10;

/** An assignment with the way to call its function. */
export interface Service extends Assignment {
  readonly invoke: Invoke;
}

/** The user requests of one pod. */
export interface UserCalls {
  readonly pod: Pod;
  readonly log: Log;
  readonly scope: RequestScope;
  readonly running: Running;
  readonly owner: ExchangeOwner;
  service: Service | null;
}

interface Slots {
  /** Replies that are on their way out; their slots are free in a moment. */
  flushing: number;
  /** Resolves when a slot is given back; null when nobody waits. */
  released: Promise<void> | null;
  wake: () => void;
}

interface State extends UserCalls {
  readonly slots: Slots;
}

export function createUserCalls(pod: Pod, log: Log, scope: RequestScope): State {
  const running = new Running();
  const slots: Slots = { flushing: 0, released: null, wake: () => {} };
  const owner: ExchangeOwner = {
    released: (exchange) => {
      running.remove(exchange);
      pod.inFlight -= 1;
      if (exchange.flushing) slots.flushing -= 1;
      if (pod.inFlight === 0) pod.idleSince = now();
      if (slots.released !== null) {
        slots.released = null;
        slots.wake();
      }
    },
    flushing: () => {
      slots.flushing += 1;
    },
    schedule: (exchange) => running.schedule(exchange),
    warn: (message, exchange) => log.write("warn", message, { requestId: exchange.requestId }),
  };
  return { pod, log, scope, running, owner, slots, service: null };
}

/** The reply for what the function, or the reading of its body, threw. */
function failure(calls: UserCalls, service: Service, exchange: Exchange, error: unknown): Response {
  const { requestId } = exchange;
  if (exchange.bodyTooLarge) {
    const message = `The request body has more than ${service.limits.maxBodyBytes} bytes`;
    return errorReply(413, "body_too_large", requestId, { message });
  }
  if (hasInstance(MalformedBody, error)) {
    return errorReply(400, "bad_request", requestId, { message: describeError(error).message });
  }
  const { message, stack } = describeError(error);
  calls.log.write("error", message, { stack, requestId });
  return errorReply(500, "function_error", requestId, service.debug ? { message, stack } : {});
}

function success(calls: UserCalls, service: Service, exchange: Exchange, value: unknown): Response {
  let reply: Response;
  try {
    reply = toResponse(value);
  } catch (error) {
    reply = failure(calls, service, exchange, error);
  }
  exchange.handlerEnded();
  return reply;
}

/** The caller's reply of a promise: what it comes to, or the deadline's reply when that comes first. */
function later(
  calls: UserCalls,
  service: Service,
  exchange: Exchange,
  promise: Promise<unknown>,
): Promise<Response> {
  return new NativePromise<Response>((resolve) => {
    exchange.answer = resolve;
    promiseThen(
      promise,
      (value) => {
        if (exchange.claimReply()) resolve(success(calls, service, exchange, value));
        else exchange.handlerEnded();
      },
      (error) => {
        if (exchange.claimReply()) resolve(failure(calls, service, exchange, error));
        else if (!exchange.gone) failure(calls, service, exchange, error);
        exchange.handlerEnded();
      },
    );
  });
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

const isPromise = (value: unknown): value is Promise<unknown> => hasInstance(NativePromise, value);

/** Runs the function for a request whose slot is taken. */
function run(calls: UserCalls, service: Service, request: Request, exchange: Exchange, info: Info): Answer {
  let value: unknown;
  try {
    value = calls.scope.run(service.invoke, request, exchange, info);
  } catch (error) {
    exchange.claimReply();
    const reply = failure(calls, service, exchange, error);
    exchange.handlerEnded();
    return reply;
  }
  if (isPromise(value)) return later(calls, service, exchange, value);
  if (isThenable(value)) return later(calls, service, exchange, promiseResolve(value));
  exchange.claimReply();
  return success(calls, service, exchange, value);
}

/** When a request must be done, on the monotonic clock: the sooner of the function's limit and what the router leaves it. */
function dueAt(service: Service, asked: string | null): number {
  const ownMs = service.limits.timeoutMs === 0 ? Infinity : service.limits.timeoutMs;
  const askedMs = asked === null ? Infinity : toNumber(asked);
  const limitMs = askedMs >= 0 && askedMs < ownMs ? askedMs : ownMs;
  return limitMs === Infinity ? Infinity : now() + limitMs;
}

/** The request with a body that ends at the limit, when its length was not announced. */
function limited(request: Request, exchange: Exchange, maxBodyBytes: number): Request {
  const method = requestMethod(request);
  const body = method === "GET" || method === "HEAD" ? null : requestBody(request);
  if (body === null) return request;
  const stream = limitStream(body, maxBodyBytes, () => {
    exchange.bodyTooLarge = true;
  });
  return new NativeRequest(request, { body: stream });
}

/** Takes the slot of a request that `refusal` let in. */
function start(calls: UserCalls, service: Service, request: Request, info: Info): Answer {
  const { pod, running, owner } = calls;
  const headers = requestHeaders(request);
  const requestId = headersGet(headers, HEADER_REQUEST_ID) ?? randomUuid();
  const { maxBodyBytes } = service.limits;
  const length = headersGet(headers, "content-length");
  if (length !== null && toNumber(length) > maxBodyBytes) {
    const message = `The request body has ${length} bytes, at most ${maxBodyBytes} are allowed`;
    return errorReply(413, "body_too_large", requestId, { message });
  }
  const due = dueAt(service, headersGet(headers, HEADER_TIMEOUT_MS));
  const exchange = new Exchange(request, requestId, due, owner);
  pod.inFlight += 1;
  pod.started += 1;
  running.add(exchange);
  const sent = (): void => exchange.sent();
  promiseThen(info.completed, sent, sent);
  const given = length === null ? limited(request, exchange, maxBodyBytes) : request;
  bindRequest(given, exchange);
  return run(calls, service, given, exchange, info);
}

/** Waits a moment for a slot whose reply is on its way out. */
async function startSoon(
  calls: State,
  request: Request,
  info: Info,
  podUid: string | null,
  revision: string | null,
): Promise<Response> {
  const { pod, slots } = calls;
  let over = false;
  const patience = new NativePromise<void>((resolve) =>
    startTimer(() => {
      over = true;
      resolve();
    }, FLUSH_WAIT_MS),
  );
  for (;;) {
    const reason = refusal(pod, podUid, revision);
    if (reason === null && calls.service !== null) return start(calls, calls.service, request, info);
    if (reason !== "busy" || over) return refusalReply(reason ?? "not-specialised");
    slots.released ??= new NativePromise<void>((resolve) => {
      slots.wake = resolve;
    });
    await promiseRace([slots.released, patience]);
  }
}

/** Answers one user request. `podUid` is the pod that the caller means; null when it names none. */
export function userCall(calls: State, request: Request, info: Info, podUid: string | null): Answer {
  const revision = headersGet(requestHeaders(request), HEADER_REVISION);
  const reason = refusal(calls.pod, podUid, revision);
  if (reason === null && calls.service !== null) return start(calls, calls.service, request, info);
  if (reason === "busy" && calls.slots.flushing > 0) return startSoon(calls, request, info, podUid, revision);
  calls.pod.refusedAt = now();
  return refusalReply(reason ?? "not-specialised");
}
