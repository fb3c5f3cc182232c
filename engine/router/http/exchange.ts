import { performance } from "node:perf_hooks";
import { BodyError } from "./body-error.ts";
import type { ClientConnection } from "./client-connection.ts";
import { findHeader, type HeadParser, headerValue } from "./head-parser.ts";
import { CompiledHeaderFilter } from "./header-filter.ts";
import {
  failRelay,
  PHASE_BODY,
  PHASE_CONTINUE,
  PHASE_NONE,
  PHASE_QUEUED,
  PHASE_RESPONSE,
  relayContinue,
  sendBody,
  sendBodyEnd,
} from "./relay.ts";
import { dateLine, statusLine } from "./reply-head.ts";
import { ResponseHold } from "./response-hold.ts";
import type { RequestBody } from "./request-body.ts";
import type { RequestFacts } from "./request-head.ts";
import type {
  Exchange,
  ExchangeState,
  Handler,
  HeaderFilter,
  HeldResponse,
  Limits,
  Outcome,
  RelayFailureKind,
  RelayPlan,
  Upstream,
} from "./types.ts";
import type { UpstreamConnection } from "./upstream-connection.ts";
import { UpstreamPool } from "./upstream.ts";

/**
 * One request in flight.
 *
 * 1. `finish` runs once; every path ends there, and it lets go of whatever the exchange holds upstream.
 * 2. `connection` is set exactly while a connection has this exchange; in the pool's queue exactly while `phase` is PHASE_QUEUED.
 * 3. Deadlines are integers on the sweeper's clock, 0 for none; nothing is scheduled per exchange.
 */

interface Collecting {
  readonly limitBytes: number;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: BodyError) => void;
}

let lastId = 0;
const NO_FILTER = new CompiledHeaderFilter({ strip: [] });

export class ExchangeImpl implements Exchange, RequestFacts {
  readonly id = ++lastId;
  readonly client: ClientConnection;
  readonly handler: Handler;
  readonly limits: Limits;
  readonly parser: HeadParser;
  readonly head: string;
  readonly startedAt: number;
  state: ExchangeState = "open";
  context: unknown = undefined;
  outcome: Outcome = "client-gone";
  status = 0;
  bytesOut = 0;
  endedAt = 0;
  responded = false;
  attempts = 0;

  method = "";
  path = "";
  query = "";
  host = "";
  hostname = "";
  minorVersion: 0 | 1 = 1;
  bodyLength = 0;
  keepAlive = true;
  expectsContinue = false;
  upgrade = false;
  named: ReadonlySet<string> | undefined = undefined;

  body: RequestBody | undefined = undefined;
  /** Set while a response is to be held back or is being gathered. */
  hold: ResponseHold | undefined = undefined;
  #collecting: Collecting | undefined = undefined;
  #deadlineAt = 0;
  #phaseAt = 0;
  phase = PHASE_NONE;

  // Of the present relay.
  #pool: UpstreamPool | undefined = undefined;
  #plan: RelayPlan | undefined = undefined;
  requestFilter = NO_FILTER;
  responseFilter = NO_FILTER;
  connection: UpstreamConnection | undefined = undefined;
  target = "";
  headers = "";
  upgrading = false;
  sent = false;
  gateOpen = true;
  chunkedUp = false;
  chunkedDown = false;
  #tunnel = false;
  #clientEnded = false;
  #upstreamEnded = false;

  constructor(client: ClientConnection, head: string) {
    this.client = client;
    this.handler = client.handler;
    this.limits = client.limits;
    this.parser = client.parser;
    this.head = head;
    this.startedAt = performance.now();
  }

  get clientAddress(): string {
    return this.client.address;
  }

  get clientPort(): number {
    return this.client.port;
  }

  get clientMemo(): unknown {
    return this.client.memo;
  }

  set clientMemo(memo: unknown) {
    this.client.memo = memo;
  }

  get bytesIn(): number {
    return this.body === undefined ? this.client.tunnelBytes : this.body.received;
  }

  get canResend(): boolean {
    return this.body === undefined || !this.body.overflowed;
  }

  get plan(): RelayPlan {
    if (this.#plan === undefined)
      throw new Error(`Cannot read the plan of exchange ${this.id}: it was never relayed`);
    return this.#plan;
  }

  get pool(): UpstreamPool {
    if (this.#pool === undefined)
      throw new Error(`Cannot read the upstream of exchange ${this.id}: it was never relayed`);
    return this.#pool;
  }

  header(name: string): string | undefined {
    if (this.state === "ended") return undefined;
    const index = findHeader(this.parser, this.head, name, 0);
    return index < 0 ? undefined : headerValue(this.parser, this.head, index);
  }

  headerJoined(name: string): string | undefined {
    if (this.state === "ended") return undefined;
    let joined: string | undefined;
    let index = findHeader(this.parser, this.head, name, 0);
    while (index >= 0) {
      const value = headerValue(this.parser, this.head, index);
      joined = joined === undefined ? value : `${joined}${name === "cookie" ? "; " : ", "}${value}`;
      index = findHeader(this.parser, this.head, name, index + 1);
    }
    return joined;
  }

  eachHeader(visit: (name: string, value: string) => void): void {
    if (this.state === "ended") return;
    const { spans, count } = this.parser;
    for (let index = 0; index < count; index++) {
      visit(
        this.head.slice(spans[index << 2], spans[(index << 2) + 1]),
        headerValue(this.parser, this.head, index),
      );
    }
  }

  setDeadline(timeoutMs: number): void {
    this.#deadlineAt = timeoutMs > 0 ? this.client.now + Math.ceil(timeoutMs) : 0;
  }

  remainingMs(): number {
    return this.#deadlineAt === 0
      ? Number.POSITIVE_INFINITY
      : Math.max(0, this.#deadlineAt - this.client.now);
  }

  reply(status: number, headers: string, body: string | Uint8Array = ""): void {
    this.#mustBeOpen("reply to");
    this.state = "replying";
    this.status = status;
    const bodiless = status === 204 || status === 304;
    const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    if (this.body !== undefined && !this.body.complete && !this.client.canDrain(this)) this.keepAlive = false;
    let text = statusLine(status) + headers + dateLine();
    if (!bodiless) text += `content-length: ${length}\r\n`;
    text += `${this.connectionLine()}\r\n`;
    if (bodiless || this.method === "HEAD" || length === 0) this.client.write(text);
    else {
      this.bytesOut = length;
      if (typeof body === "string" && length === body.length) this.client.write(text + body);
      else {
        this.client.text = text;
        this.client.writeBytes(typeof body === "string" ? Buffer.from(body) : body);
      }
    }
    this.finish("replied");
  }

  relay(upstream: Upstream, target: string, headers: string, plan: RelayPlan): void {
    this.#mustBeOpen("relay");
    if (!(upstream instanceof UpstreamPool))
      throw new TypeError("Cannot relay: the upstream must come from createUpstreams");
    this.requestFilter = compiled(plan.requestFilter);
    this.responseFilter = compiled(plan.responseFilter);
    this.#pool = upstream;
    this.#plan = plan;
    this.target = target;
    this.headers = headers;
    this.attempts++;
    this.state = "relaying";
    this.sent = false;
    this.upgrading = this.upgrade && plan.allowUpgrade;
    upstream.active++;
    if (
      this.bodyLength > plan.maxBodyBytes ||
      (this.body !== undefined && this.body.received > plan.maxBodyBytes)
    ) {
      this.#bodyTooLarge();
      return;
    }
    this.enterPhase(PHASE_QUEUED, plan.connectTimeoutMs);
    upstream.acquire(this);
  }

  readBody(limitBytes: number): Promise<Buffer> {
    this.#mustBeOpen("read the body of");
    const { body } = this;
    if (body === undefined) return Promise.resolve(Buffer.alloc(0));
    if (this.bodyLength > limitBytes || body.received > limitBytes)
      return Promise.reject(tooLarge(limitBytes));
    if (body.complete) return Promise.resolve(body.held());
    if (this.expectsContinue) this.client.sendContinue();
    return new Promise((resolve, reject) => {
      this.#collecting = { limitBytes, resolve, reject };
      this.client.updateReading();
    });
  }

  holdResponse(limitBytes: number, whole: (response: HeldResponse) => void): void {
    this.#mustBeOpen("hold the response of");
    this.hold = new ResponseHold(limitBytes, whole);
  }

  abort(): void {
    this.cut("client-gone");
  }

  /** `connection` header of the response. */
  connectionLine(): string {
    if (this.keepAlive && !this.client.last)
      return this.minorVersion === 1 ? "" : "connection: keep-alive\r\n";
    this.keepAlive = false;
    return "connection: close\r\n";
  }

  enterPhase(phase: number, timeoutMs: number): void {
    this.phase = phase;
    this.#phaseAt = timeoutMs > 0 ? this.client.now + timeoutMs : 0;
  }

  /** The relay is over for the upstream; if no response has begun, the exchange is the handler's again. */
  leaveRelay(): void {
    this.phase = PHASE_NONE;
    this.#phaseAt = 0;
    this.connection = undefined;
    this.pool.active--;
    if (this.state === "relaying") this.state = "open";
  }

  /** Ends the exchange. What the client should get has been written, or it gets nothing more. */
  finish(outcome: Outcome): void {
    if (this.state === "ended") return;
    const { connection } = this;
    if (this.phase !== PHASE_NONE) {
      if (this.phase === PHASE_QUEUED) this.pool.leave(this, false);
      this.leaveRelay();
      connection?.abandon();
    }
    this.outcome = outcome;
    this.endedAt = performance.now();
    const collecting = this.#collecting;
    this.#collecting = undefined;
    // onEnd may still read headers, so the state changes after it; a hook must not act on the exchange any more.
    this.state = "replying";
    this.handler.onEnd(this);
    this.state = "ended";
    this.client.exchangeEnded(this);
    collecting?.reject(
      new BodyError(
        outcome === "rejected" ? "malformed" : "client-gone",
        "Request ended before its body was whole",
      ),
    );
  }

  /** Ends the exchange and breaks the client's connection. */
  cut(outcome: Outcome): void {
    if (this.state === "ended") return;
    this.client.destroy();
    this.finish(outcome);
  }

  /** Whether bytes of the request's body are wanted now. */
  wantsBody(): boolean {
    const { body } = this;
    if (this.#tunnel) return this.connection?.socket.writableNeedDrain !== true;
    if (body === undefined || this.#collecting !== undefined) return true;
    if (this.connection === undefined || !this.gateOpen) {
      return body.heldBytes < this.limits.retainBodyBytes && !body.overflowed;
    }
    return !this.connection.socket.writableNeedDrain;
  }

  bodyData(bytes: Buffer, start: number, end: number): void {
    const { body } = this;
    if (body === undefined) return;
    const collecting = this.#collecting;
    if (collecting !== undefined) {
      if (body.received > collecting.limitBytes) {
        this.#collecting = undefined;
        body.overflow();
        collecting.reject(tooLarge(collecting.limitBytes));
      } else body.hold(bytes, start, end);
      return;
    }
    const streaming = this.connection !== undefined && this.gateOpen;
    if (this.phase !== PHASE_NONE && body.received > this.plan.maxBodyBytes) {
      this.#bodyTooLarge();
      return;
    }
    if (!body.overflowed) {
      // While nothing streams, reading stops soon after the window is full, so that little more than it is held.
      if (streaming && body.heldBytes + end - start > this.limits.retainBodyBytes) body.overflow();
      else body.hold(bytes, start, end);
    }
    if (!streaming) return;
    if (this.phase === PHASE_RESPONSE) this.enterPhase(PHASE_RESPONSE, this.plan.responseTimeoutMs);
    sendBody(this, bytes, start, end);
  }

  bodyEnd(): void {
    const collecting = this.#collecting;
    if (collecting !== undefined && this.body !== undefined) {
      this.#collecting = undefined;
      collecting.resolve(this.body.held());
    } else sendBodyEnd(this);
  }

  clientDrained(): void {
    this.connection?.resume();
  }

  openTunnel(): void {
    this.#tunnel = true;
    this.keepAlive = false;
    if (this.connection !== undefined) this.connection.requestWhole = true;
    this.client.tunnelOpened();
  }

  tunnelData(bytes: Buffer): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.enterPhase(PHASE_BODY, this.plan.idleTimeoutMs);
    connection.socket.write(this.client.keepable(bytes, 0, bytes.length));
    if (connection.socket.writableNeedDrain) this.client.updateReading();
  }

  /** One side of the tunnel has ended; the other may still talk. `end` and not `destroy`, since what is queued must arrive. */
  tunnelEnded(side: "client" | "upstream"): void {
    if (side === "client") {
      this.#clientEnded = true;
      this.connection?.socket.end();
    } else {
      this.#upstreamEnded = true;
      this.client.endTunnel();
    }
    if (this.#clientEnded && this.#upstreamEnded) {
      this.phase = PHASE_BODY;
      const { connection } = this;
      this.leaveRelay();
      connection?.detach();
      this.finish("tunnel");
    }
  }

  get isTunnel(): boolean {
    return this.#tunnel;
  }

  /** Whether bytes written upstream still wait in the process. */
  get upstreamQueued(): boolean {
    return this.connection !== undefined && this.connection.socket.writableLength > 0;
  }

  sweep(now: number): void {
    if (this.#deadlineAt !== 0 && now >= this.#deadlineAt) {
      this.#deadlineAt = 0;
      if (this.state === "open") this.handler.onDeadline(this);
      else if (this.state === "relaying") this.#giveUpRelay("deadline", "the request's time is over");
      else this.cut("timeout");
    } else if (this.#phaseAt !== 0 && now >= this.#phaseAt) {
      this.#phaseAt = 0;
      this.#phaseTimedOut();
    }
  }

  #phaseTimedOut(): void {
    switch (this.phase) {
      case PHASE_QUEUED: {
        const kind = this.pool.full ? "queue-timeout" : "connect-timeout";
        this.#giveUpRelay(
          kind,
          `no connection to ${this.pool.host}:${this.pool.port} in ${this.plan.connectTimeoutMs} ms`,
        );
        return;
      }
      case PHASE_CONTINUE:
        relayContinue(this);
        return;
      case PHASE_RESPONSE:
        this.#giveUpRelay("response-timeout", `no response head in ${this.plan.responseTimeoutMs} ms`);
        return;
      default:
        this.cut(this.#tunnel ? "tunnel" : "timeout");
    }
  }

  #giveUpRelay(kind: RelayFailureKind, message: string): void {
    const { connection } = this;
    if (connection === undefined) this.pool.leave(this, kind === "connect-timeout");
    else connection.abandon();
    failRelay(this, kind, message, this.sent, connection !== undefined && connection.served > 1);
  }

  #bodyTooLarge(): void {
    if (this.state === "replying") this.cut("rejected");
    else
      this.#giveUpRelay("body-too-large", `the request body is larger than ${this.plan.maxBodyBytes} bytes`);
  }

  #mustBeOpen(action: string): void {
    if (this.state === "open" && this.#collecting === undefined) return;
    const state = this.#collecting === undefined ? this.state : "reading its body";
    throw new Error(`Cannot ${action} exchange ${this.id}: it must be open, got ${state}`);
  }
}

function compiled(filter: HeaderFilter): CompiledHeaderFilter {
  if (filter instanceof CompiledHeaderFilter) return filter;
  throw new TypeError("Cannot relay: header filters must come from compileHeaderFilter");
}

function tooLarge(limitBytes: number): BodyError {
  return new BodyError("too-large", `Cannot read request body: it must be at most ${limitBytes} bytes`);
}
