/**
 * One request in a pod, from admission to the release of its slot.
 *
 * 1. A slot is held while any of these lasts: the handler's promise, the sending of the reply, `ctx.waitUntil` work, an open WebSocket.
 * 2. A slot is released exactly once, and always at some time: work that outlives its bound (`OVERRUN_MS` after the deadline,
 *    `WAIT_UNTIL_MS` after the reply, `ABANDONED_MS` after the client left when there is no deadline) is no longer waited for.
 * 3. The caller gets exactly one reply: the handler's, or the runtime's when the deadline comes first.
 */
import {
  abortWith,
  controllerSignal,
  NativeAbortController,
  NativeDOMException,
  now,
  once,
  promiseThen,
  requestSignal,
  signalAborted,
  signalReason,
} from "./primordials.ts";
import { errorReply } from "./reply.ts";

export const OVERRUN_MS = 5_000;
export const WAIT_UNTIL_MS = 30_000;
export const ABANDONED_MS = 60_000;

const timeoutReply = (requestId: string): Response =>
  errorReply(504, "function_timeout", requestId, { message: "The function did not answer in time" });

/** What an exchange needs of its surroundings. */
export interface ExchangeOwner {
  /** Called once, when the slot is free again. */
  released(exchange: Exchange): void;
  /** The handler is done; its reply is on its way out. */
  flushing(): void;
  /** Asks for `expire` at `exchange.dueAt`. */
  schedule(exchange: Exchange): void;
  warn(message: string, exchange: Exchange): void;
}

export class Exchange {
  readonly request: Request;
  readonly requestId: string;
  readonly #owner: ExchangeOwner;
  /** Neighbours in the list of running exchanges; owned by the server. */
  next: Exchange | null = null;
  previous: Exchange | null = null;
  /** When `expire` is due, on the monotonic clock; Infinity = never. */
  dueAt: number;
  /** Gives the caller its reply before the handler does; set while the handler's promise is awaited. */
  answer: ((reply: Response) => void) | null = null;
  bodyTooLarge = false;
  /** The handler was done before the reply was sent. */
  flushing = false;
  #controller: AbortController | null = null;
  #aborted: unknown;
  /** Handler and sending of the reply, and what they held on to. */
  #holds = 2;
  #released = false;
  #answered = false;
  #replied = false;
  #sent = false;
  #sockets = 0;

  constructor(request: Request, requestId: string, dueAt: number, owner: ExchangeOwner) {
    this.request = request;
    this.requestId = requestId;
    this.dueAt = dueAt;
    this.#owner = owner;
  }

  /** Aborts when the client leaves, and at the deadline. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      const controller = new NativeAbortController();
      this.#controller = controller;
      const native = requestSignal(this.request);
      if (this.#aborted !== undefined) abortWith(controller, this.#aborted);
      else if (signalAborted(native)) abortWith(controller, signalReason(native));
      else once(native, "abort", () => abortWith(controller, signalReason(native)));
    }
    return controllerSignal(this.#controller);
  }

  /** Whether the client left before its reply, or the reply is sent. */
  get gone(): boolean {
    return this.#sent;
  }

  /** Marks the reply as given; false when it was given before. */
  claimReply(): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    return true;
  }

  /** The handler's promise is settled. */
  handlerEnded(): void {
    if (this.#replied) return;
    this.#replied = true;
    if (!this.#sent && !this.#released) {
      this.flushing = true;
      this.#owner.flushing();
    }
    this.#drop();
  }

  /** The reply is sent, or the client has left. */
  sent(): void {
    if (this.#sent) return;
    this.#sent = true;
    if (!this.#replied) this.#bound(ABANDONED_MS);
    else if (this.#sockets === 0) this.#bound(WAIT_UNTIL_MS);
    this.#drop();
  }

  /** Holds the slot until the promise settles, for `ctx.waitUntil`. */
  waitFor(promise: Promise<unknown>, failed: (reason: unknown) => void): void {
    this.#holds += 1;
    promiseThen(
      promise,
      () => this.#drop(),
      (reason) => {
        failed(reason);
        this.#drop();
      },
    );
  }

  /** Holds the slot while a WebSocket is open; the deadline no longer counts. */
  socketOpened(): () => void {
    this.#holds += 1;
    this.#sockets += 1;
    this.dueAt = Infinity;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.#sockets -= 1;
      this.#drop();
    };
  }

  /** The due time has come: first the deadline, then the end of patience. */
  expire(): void {
    if (this.#released) return;
    if (this.#aborted === undefined && !this.#sent) {
      this.abort(new NativeDOMException("The function's deadline has passed", "TimeoutError"));
      this.dueAt = now() + OVERRUN_MS;
      this.#owner.schedule(this);
      if (this.answer !== null && this.claimReply()) this.answer(timeoutReply(this.requestId));
      return;
    }
    this.#owner.warn("The request's work goes on after its time; it is no longer counted", this);
    this.#release();
  }

  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = reason;
    if (this.#controller !== null) abortWith(this.#controller, reason);
  }

  #bound(ms: number): void {
    if (this.#holds <= 1) return;
    const latest = now() + ms;
    if (this.dueAt <= latest) return;
    this.dueAt = latest;
    this.#owner.schedule(this);
  }

  #drop(): void {
    this.#holds -= 1;
    if (this.#holds === 0) this.#release();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#owner.released(this);
  }
}
