/**
 * The pod's one HTTP handler.
 *
 * 1. A request with `x-isotope-pod` is a user request whatever its path; one without is a control call, a specialise, or (under the
 *    reference system's contract only) a user request.
 * 2. Admission and the count that it relies on happen in one turn of the event loop.
 * 3. User code runs only through `invoke`, inside the async context of its exchange.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { HEADER_POD, HEADER_REQUEST_ID, HEADER_REVISION, HEADER_TIMEOUT_MS } from "../../api/headers.ts";
import { limitStream, readBody } from "./bytes.ts";
import { control, type ControlOwner } from "./control.ts";
import { Running } from "./deadlines.ts";
import { Exchange, type ExchangeOwner } from "./exchange.ts";
import { bindRequest, describeError } from "./intercept.ts";
import type { Invoke } from "./invoke.ts";
import type { Log } from "./log.ts";
import { MalformedBody } from "./node-context.ts";
import { type Assignment, type Pod, refusal } from "./pod.ts";
import {
  headersGet,
  NativeError,
  NativePromise,
  NativeRequest,
  NativeResponse,
  now,
  promiseResolve,
  promiseThen,
  randomUuid,
  requestBody,
  requestHeaders,
  requestMethod,
  requestUrl,
  startTimer,
  stringIndexOf,
  stringSlice,
  stringStartsWith,
  toNumber,
  uncurryThis,
  utf8Text,
} from "./primordials.ts";
import { errorReply, jsonReply, refusalReply, toResponse } from "./reply.ts";
import { specialize, type SpecializeOwner } from "./specialize.ts";

/** How long a request above the limit waits for a reply that is on its way out. */
const FLUSH_WAIT_MS = 10;

type Info = Deno.ServeHandlerInfo;

export interface PodServer {
  handle(request: Request, info: Info): Response | Promise<Response>;
  /** The error of a reply that could not be sent, for `Deno.serve`. */
  onError(error: unknown): Response;
  requestId(): string | undefined;
  running: Running;
}

/** Path of an absolute URL, without the query. */
function pathOf(url: string): string {
  const from = stringIndexOf(url, "/", stringIndexOf(url, "://") + 3);
  const query = stringIndexOf(url, "?", from);
  return query === -1 ? stringSlice(url, from) : stringSlice(url, from, query);
}

export interface PodServerOptions {
  readonly pod: Pod;
  readonly token: string;
  readonly log: Log;
  readonly drain: () => void;
  readonly ready: () => boolean;
  readonly specialization: Omit<SpecializeOwner, "assign">;
}

interface Service extends Assignment {
  readonly invoke: Invoke;
}

const isPromise = (value: unknown): value is Promise<unknown> => hasInstance(NativePromise, value);
const hasInstance = uncurryThis(Function.prototype[Symbol.hasInstance]) as (
  type: unknown,
  value: unknown,
) => boolean;
const isThenable = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

export function createPodServer(options: PodServerOptions): PodServer {
  const { pod, log } = options;
  const context = new AsyncLocalStorage<Exchange>();
  const runIn = context.run.bind(context) as <R>(
    store: Exchange,
    call: (...args: never[]) => R,
    ...args: unknown[]
  ) => R;
  const currentExchange = context.getStore.bind(context);
  const running = new Running();
  let service: Service | null = null;
  /** Replies that are on their way out; their slots are free in a moment. */
  let flushing = 0;
  let wake: (() => void) | null = null;
  let released: Promise<void> | null = null;

  const owner: ExchangeOwner = {
    released: (exchange) => {
      running.remove(exchange);
      pod.inFlight -= 1;
      if (exchange.flushing) flushing -= 1;
      pod.idleSince = now();
      if (wake !== null) {
        const call = wake;
        wake = null;
        released = null;
        call();
      }
    },
    flushing: () => {
      flushing += 1;
    },
    schedule: (exchange) => running.schedule(exchange),
    warn: (message, exchange) => log.write("warn", message, { requestId: exchange.requestId }),
  };

  const fail = (serving: Service, exchange: Exchange, error: unknown): Response => {
    if (exchange.bodyTooLarge) {
      const message = `The request body has more than ${serving.limits.maxBodyBytes} bytes`;
      return errorReply(413, "body_too_large", exchange.requestId, { message });
    }
    const { message, stack } = describeError(error);
    if (error instanceof MalformedBody) {
      return errorReply(400, "bad_request", exchange.requestId, { message: error.message });
    }
    log.write("error", message, { stack, requestId: exchange.requestId });
    return errorReply(500, "function_error", exchange.requestId, serving.debug ? { message, stack } : {});
  };

  const finish = (serving: Service, exchange: Exchange, value: unknown): Response => {
    let reply: Response;
    try {
      reply = toResponse(value);
    } catch (error) {
      reply = fail(serving, exchange, error);
    }
    exchange.handlerEnded();
    return reply;
  };

  /** Runs the function for an admitted request; the slot is taken. */
  const run = (
    serving: Service,
    request: Request,
    exchange: Exchange,
    info: Info,
  ): Response | Promise<Response> => {
    let value: unknown;
    try {
      value = runIn(exchange, serving.invoke as (...args: never[]) => unknown, request, exchange, info);
    } catch (error) {
      exchange.claimReply();
      const reply = fail(serving, exchange, error);
      exchange.handlerEnded();
      return reply;
    }
    if (!isPromise(value)) {
      if (!isThenable(value)) {
        exchange.claimReply();
        return finish(serving, exchange, value);
      }
      value = promiseResolve(value);
    }
    return new NativePromise<Response>((resolve) => {
      exchange.answer = resolve;
      promiseThen(
        value as Promise<unknown>,
        (result) => {
          if (exchange.claimReply()) resolve(finish(serving, exchange, result));
          else exchange.handlerEnded();
        },
        (error) => {
          if (exchange.claimReply()) resolve(fail(serving, exchange, error));
          else if (!exchange.gone) fail(serving, exchange, error);
          exchange.handlerEnded();
        },
      );
    });
  };

  const timeoutReply = (serving: Service, requestId: string): Response =>
    errorReply(504, "function_timeout", requestId, { message: "The function did not answer in time" });

  /** Takes the slot of a request that `refusal` let in. */
  const start = (serving: Service, request: Request, info: Info): Response | Promise<Response> => {
    const headers = requestHeaders(request);
    const requestId = headersGet(headers, HEADER_REQUEST_ID) ?? randomUuid();
    const { maxBodyBytes, timeoutMs } = serving.limits;
    const length = headersGet(headers, "content-length");
    if (length !== null && toNumber(length) > maxBodyBytes) {
      const message = `The request body has ${length} bytes, at most ${maxBodyBytes} are allowed`;
      return errorReply(413, "body_too_large", requestId, { message });
    }
    const asked = headersGet(headers, HEADER_TIMEOUT_MS);
    const askedMs = asked === null ? Infinity : toNumber(asked);
    const ownMs = timeoutMs === 0 ? Infinity : timeoutMs;
    const limitMs = askedMs >= 0 && askedMs < ownMs ? askedMs : ownMs;
    const exchange = new Exchange(request, requestId, now() + limitMs, owner, () =>
      timeoutReply(serving, requestId),
    );
    pod.inFlight += 1;
    pod.started += 1;
    running.add(exchange);
    const sent = (): void => exchange.sent();
    promiseThen(info.completed, sent, sent);
    let given = request;
    if (length === null) {
      const method = requestMethod(request);
      const body = method === "GET" || method === "HEAD" ? null : requestBody(request);
      if (body !== null) {
        const limited = limitStream(body, maxBodyBytes, () => {
          exchange.bodyTooLarge = true;
        });
        given = new NativeRequest(request, { body: limited });
      }
    }
    bindRequest(given, exchange);
    return run(serving, given, exchange, info);
  };

  const admit = async (
    request: Request,
    info: Info,
    podUid: string | null,
    revision: string | null,
  ): Promise<Response> => {
    const patience = new NativePromise<void>((resolve) => startTimer(resolve, FLUSH_WAIT_MS));
    let over = false;
    promiseThen(
      patience,
      () => {
        over = true;
      },
      () => {},
    );
    for (;;) {
      const reason = refusal(pod, podUid, revision);
      if (reason === null && service !== null) return start(service, request, info);
      if (reason !== "busy" || over) return refusalReply(reason ?? "not-specialised");
      released ??= new NativePromise<void>((resolve) => {
        wake = resolve;
      });
      await NativePromise.race([released, patience]);
    }
  };

  const user = (request: Request, info: Info, podUid: string | null): Response | Promise<Response> => {
    const revision = headersGet(requestHeaders(request), HEADER_REVISION);
    const reason = refusal(pod, podUid, revision);
    if (reason === null && service !== null) return start(service, request, info);
    if (reason === "busy" && flushing > 0) return admit(request, info, podUid, revision);
    return refusalReply(reason ?? "not-specialised");
  };

  const controlOwner: ControlOwner = {
    pod,
    token: options.token,
    ready: options.ready,
    drain: options.drain,
    text: async (request, limit) => {
      const bytes = await readBody(request, limit);
      return bytes === null ? null : utf8Text(bytes);
    },
  };
  const specializeOwner: SpecializeOwner = {
    ...options.specialization,
    assign: (assignment, invoke) => {
      service = { ...assignment, invoke };
      pod.assignment = assignment;
      pod.idleSince = now();
      pod.state = "specialised";
    },
  };

  const handle = (request: Request, info: Info): Response | Promise<Response> => {
    const podUid = headersGet(requestHeaders(request), HEADER_POD);
    if (podUid !== null) return user(request, info, podUid);
    const path = pathOf(requestUrl(request));
    if (stringStartsWith(path, "/_isotope/")) return control(controlOwner, request, path);
    if (service !== null && service.revision === null) return user(request, info, null);
    if (requestMethod(request) === "POST" && (path === "/v2/specialize" || path === "/specialize")) {
      return specialize(specializeOwner, request, path);
    }
    if (pod.state === "generic" || pod.state === "specialising") {
      if (path === "/healthz") return new NativeResponse("OK");
      return new NativeResponse("Generic container: no requests supported", { status: 500 });
    }
    return refusalReply("wrong-pod");
  };

  return {
    handle,
    onError: (error) => {
      const { message, stack } = describeError(
        error instanceof NativeError ? error : new NativeError(String(error)),
      );
      log.write("error", `Cannot send the reply: ${message}`, { stack });
      return jsonReply(
        500,
        { component: "function", reason: "function_error" },
        { "x-isotope-error": "function_error" },
      );
    },
    requestId: () => currentExchange()?.requestId,
    running,
  };
}
