import type { Socket } from "node:net";
import { ExchangeImpl } from "./exchange.ts";
import { COMPLETE, HeadParser, REJECTED } from "./head-parser.ts";
import { REJECTS, type Reject } from "./reject.ts";
import { dateLine, statusLine } from "./reply-head.ts";
import { RequestBody } from "./request-body.ts";
import { interpretRequest } from "./request-head.ts";
import { adoptForSharedReads } from "./shared-read.ts";
import type { Swept } from "./sweeper.ts";
import type { Handler, Limits } from "./types.ts";

/**
 * One connection of a client: finds the requests in what it sends and writes the responses, one after the other.
 *
 * 1. At most one exchange is in flight; requests pipelined behind it wait in `#pending`, and the next is parsed only when the response
 *    before it has left the process (else a client that never reads would grow memory).
 * 2. Reading stops whenever nobody wants the bytes (`updateReading`), so that what is pending stays below two reads.
 * 3. Bytes of a body are dealt with before `onRequest` as far as they came with the head, so that small requests leave in one write.
 * 4. The end of the client's side means that the client is gone, as in other servers of the field; only tunnels may be half-closed.
 * 5. A connection that ends after a response is closed by `#linger`: what the client still sends is read and dropped for a moment, since
 *    a reset would destroy the response on its way.
 * 6. The shared read buffer is overwritten by the next read of any connection: what outlives `#read` is copied by `hold`, `#keep` or
 *    `keepable`. A private buffer is replaced while the upstream's socket still holds it.
 */

const WAIT_NONE = 0;
const WAIT_HEAD = 1;
const WAIT_IDLE = 2;
const WAIT_BODY = 3;
const WAIT_WRITE = 4;
const WAIT_LINGER = 5;

/** How long a closing connection may stay silent, and how long it may go on sending. */
const LINGER_MS = 2000;
const MOST_LINGER_MS = 30_000;
const EMPTY = Buffer.alloc(0);
/** All connections read into this; see invariant 6. */
const SHARED = Buffer.allocUnsafeSlow(65_536);
/** A connection whose client uploads with reads this large gets buffers of its own. */
const STREAMING_BYTES = 16_384;

/** What a connection needs of its listener. */
export interface ConnectionHost {
  readonly handler: Handler;
  readonly limits: Limits;
  /** Milliseconds, at most one sweep old. */
  readonly now: number;
  readonly closing: boolean;
  /** Whether responses are the last ones of their connections. */
  readonly draining: boolean;
  rejectReply(reject: Reject): { headers: string; body: string };
  exchangeStarted(): void;
  exchangeOver(tunnel: boolean): void;
  tunnelOpened(): void;
  closed(connection: ClientConnection): void;
}

export class ClientConnection implements Swept {
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  readonly handler: Handler;
  readonly limits: Limits;
  readonly parser: HeadParser;
  readonly address: string;
  readonly port: number;
  /** Of the handler: what holds for all requests of this connection. */
  memo: unknown = undefined;
  /** Text that leaves with the next write. */
  text = "";
  tunnelBytes = 0;
  #exchange: ExchangeImpl | undefined;
  #body: RequestBody | undefined;
  #pending = EMPTY;
  #pendingLength = 0;
  #consuming = false;
  #lingering = false;
  #gone = false;
  #reading = true;
  #readBuffer = SHARED;
  #requests = 0;
  #dropped = 0;
  #wait = WAIT_HEAD;
  #waitAt = 0;
  #lingerUntil = 0;

  constructor(host: ConnectionHost, accepted: Socket, address: string) {
    this.#host = host;
    this.handler = host.handler;
    this.limits = host.limits;
    this.parser = new HeadParser(false, host.limits);
    this.address = address;
    this.port = accepted.remotePort ?? 0;
    const shared = adoptForSharedReads(accepted, {
      buffer: () => this.#readBuffer,
      read: (bytes) => this.#read(bytes),
    });
    const socket = shared ?? accepted;
    this.#socket = socket;
    if (shared === undefined) {
      socket.on("data", (chunk: Buffer) => this.#data(chunk, chunk.length));
      socket.resume();
    }
    socket.on("end", () => this.#ended());
    socket.on("drain", () => this.#drained());
    socket.on("error", () => undefined);
    socket.on("close", () => this.#closed());
  }

  get now(): number {
    return this.#host.now;
  }

  /** Whether the response to the present request is the last one here. */
  get last(): boolean {
    return this.#host.draining || this.#requests >= this.limits.maxRequestsPerConnection;
  }

  get busy(): boolean {
    return this.#exchange !== undefined || this.#pendingLength > 0 || this.parser.started || this.#lingering;
  }

  /** Whether written bytes still wait in the process. */
  get queued(): boolean {
    return this.#socket.writableLength > 0;
  }

  /** Writes text. @returns whether more may be written */
  write(text: string): boolean {
    if (this.#gone) return true;
    this.#socket.write(text, "latin1");
    return !this.#socket.writableNeedDrain;
  }

  /** Writes what has gathered in `text`. @returns whether more may be written */
  flush(): boolean {
    if (this.text === "") return !this.#socket.writableNeedDrain;
    const { text } = this;
    this.text = "";
    return this.write(text);
  }

  /** Writes `text`, then bytes that nobody changes any more. @returns whether more may be written */
  writeBytes(bytes: Uint8Array): boolean {
    if (this.#gone) return true;
    if (this.text === "") this.#socket.write(bytes);
    else {
      this.#socket.cork();
      this.flush();
      this.#socket.write(bytes);
      this.#socket.uncork();
    }
    return !this.#socket.writableNeedDrain;
  }

  sendContinue(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || !exchange.expectsContinue) return;
    exchange.expectsContinue = false;
    this.write("HTTP/1.1 100 Continue\r\n\r\n");
  }

  /** Whether the rest of a request's body is small enough to be read and dropped, and the client is going to send it. */
  canDrain(exchange: ExchangeImpl): boolean {
    const { body } = exchange;
    return body === undefined || (!exchange.expectsContinue && body.remaining <= this.limits.drainBodyBytes);
  }

  updateReading(): void {
    // What is pending of the body comes before what is still to be read.
    if (!this.#consuming && this.#pendingLength > 0 && this.#body?.complete === false && this.#wantsBytes())
      this.#consumePending();
    const wanted = this.#wantsBytes();
    if (this.#exchange !== undefined)
      this.#waitFor(wanted && this.#body?.complete === false ? WAIT_BODY : WAIT_NONE);
    if (wanted === this.#reading || this.#gone) return;
    this.#reading = wanted;
    if (wanted) this.#socket.resume();
    else this.#socket.pause();
  }

  exchangeEnded(exchange: ExchangeImpl): void {
    this.#exchange = undefined;
    this.#host.exchangeOver(exchange.isTunnel);
    if (this.#gone) return;
    if (!exchange.keepAlive) {
      this.#linger();
      return;
    }
    if (this.#body !== undefined && this.#body.complete) this.#body = undefined;
    this.#dropped = 0;
    if (!this.#consuming) this.#goOn();
  }

  tunnelOpened(): void {
    this.#host.tunnelOpened();
    const early = this.#pending.subarray(0, this.#pendingLength);
    this.#pending = EMPTY;
    this.#pendingLength = 0;
    if (early.length > 0) this.#tunnelData(early);
    this.updateReading();
  }

  /** Ends our side of a tunnel after what is queued. */
  endTunnel(): void {
    this.#socket.end();
  }

  /** Breaks the connection without an orderly end, so that a cut response cannot pass for a whole one. */
  destroy(): void {
    this.#gone = true;
    this.#socket.resetAndDestroy();
  }

  /** Starts the time of the first head. */
  accepted(): void {
    this.#waitFor(WAIT_HEAD);
  }

  /** Cuts whatever is going on. */
  abort(): void {
    if (this.#exchange === undefined) this.destroy();
    else this.#exchange.abort();
  }

  /** The listener closes: idle connections end now, busy ones after their exchange. */
  retire(): void {
    if (!this.busy) this.#linger();
  }

  sweep(now: number): void {
    this.#exchange?.sweep(now);
    if (this.#waitAt === 0 || now < this.#waitAt || this.#gone) return;
    this.#waitAt = 0;
    switch (this.#wait) {
      case WAIT_HEAD:
        if (this.parser.started || this.#requests === 0) this.#reject(REJECTS.headTimeout);
        else this.#linger();
        return;
      case WAIT_BODY:
        if (this.#exchange === undefined) this.destroy();
        else this.#rejectBody(this.#exchange, REJECTS.bodyTimeout);
        return;
      case WAIT_IDLE:
        this.#linger();
        return;
      case WAIT_LINGER:
        // No reset: what the kernel still holds of the response must arrive.
        this.#gone = true;
        this.#socket.destroy();
        return;
      default:
        this.destroy();
    }
  }

  #waitFor(what: number): void {
    const { limits } = this;
    this.#wait = what;
    let timeoutMs = 0;
    if (what === WAIT_HEAD) timeoutMs = limits.headerTimeoutMs;
    else if (what === WAIT_IDLE) timeoutMs = limits.keepAliveTimeoutMs;
    else if (what === WAIT_BODY) timeoutMs = limits.bodyIdleTimeoutMs;
    else if (what === WAIT_WRITE) timeoutMs = limits.writeTimeoutMs;
    this.#waitAt = timeoutMs === 0 ? 0 : this.#host.now + timeoutMs;
  }

  #wantsBytes(): boolean {
    if (this.#lingering) return true;
    const exchange = this.#exchange;
    if (exchange === undefined) return !this.#socket.writableNeedDrain;
    if (exchange.isTunnel || this.#body?.complete === false) return exchange.wantsBody();
    return this.#pendingLength === 0;
  }

  #read(count: number): boolean {
    const own = this.#readBuffer;
    this.#data(own, count);
    const streams =
      this.#exchange !== undefined && (this.#exchange.isTunnel || this.#body?.complete === false);
    if (!streams) this.#readBuffer = SHARED;
    else if (own === SHARED ? count >= STREAMING_BYTES : this.#exchange?.upstreamQueued === true) {
      this.#readBuffer = Buffer.allocUnsafeSlow(SHARED.length);
    }
    return this.#reading;
  }

  /** Bytes of the last read in a form that a socket may keep. */
  keepable(bytes: Buffer, start: number, end: number): Buffer {
    const part = bytes.subarray(start, end);
    return bytes.buffer === SHARED.buffer ? Buffer.from(part) : part;
  }

  #data(bytes: Buffer, end: number): void {
    if (this.#lingering && this.#waitAt !== 0 && !this.queued) {
      this.#waitAt = Math.min(this.#host.now + LINGER_MS, this.#lingerUntil);
    }
    if (this.#lingering || this.#gone) return;
    if (this.#exchange?.isTunnel === true) {
      this.#tunnelData(bytes.subarray(0, end));
      return;
    }
    if (this.#pendingLength === 0) {
      const used = this.#consume(bytes, end);
      if (used < end) this.#keep(bytes, used, end);
    } else {
      this.#keep(bytes, 0, end);
      this.#consumePending();
    }
    this.#settle();
  }

  /** Goes on with what is pending. */
  #goOn(): void {
    if (this.#pendingLength > 0) this.#consumePending();
    this.#settle();
  }

  #consumePending(): void {
    const used = this.#consume(this.#pending, this.#pendingLength);
    // What a tunnel or a closing connection has taken is not pending any more.
    const left = this.#pendingLength - used;
    if (left <= 0) {
      this.#pendingLength = 0;
      this.#pending = EMPTY;
    } else if (used > 0) {
      this.#pending.copyWithin(0, used, this.#pendingLength);
      this.#pendingLength = left;
    }
  }

  #keep(bytes: Buffer, from: number, end: number): void {
    const needed = this.#pendingLength + end - from;
    if (needed > this.#pending.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#pending.length * 2, 1024));
      this.#pending.copy(larger, 0, 0, this.#pendingLength);
      this.#pending = larger;
    }
    bytes.copy(this.#pending, this.#pendingLength, from, end);
    this.#pendingLength = needed;
  }

  /** Sets what is waited for after bytes have been dealt with. */
  #settle(): void {
    if (this.#gone || this.#lingering) return;
    if (this.#exchange === undefined) {
      if (this.#socket.writableNeedDrain) this.#waitFor(WAIT_WRITE);
      else if (this.#body !== undefined) this.#waitFor(WAIT_BODY);
      else if (!this.parser.started) {
        this.#waitFor(WAIT_IDLE);
        if (this.#host.closing) {
          this.#linger();
          return;
        }
      } else if (this.#wait !== WAIT_HEAD) this.#waitFor(WAIT_HEAD);
    }
    this.updateReading();
  }

  /** @returns how many bytes are dealt with for good */
  #consume(bytes: Buffer, end: number): number {
    this.#consuming = true;
    let at = 0;
    while (at < end && !this.#lingering && !this.#gone) {
      const body = this.#body;
      if (body !== undefined && !body.complete) {
        const next = this.#consumeBody(body, bytes, at, end);
        // Nobody wants more of the body for now: the rest is pending until somebody does.
        if (next === at) break;
        at = next;
      } else if (this.#exchange !== undefined || this.#socket.writableNeedDrain) break;
      else {
        const verdict = this.parser.parse(bytes, at, end);
        if (verdict === REJECTED) {
          this.#reject(this.parser.reject);
          break;
        }
        if (verdict !== COMPLETE) break;
        at = this.#begin(bytes, at, end);
      }
    }
    this.#consuming = false;
    return this.#lingering || this.#gone ? end : at;
  }

  /** A head is complete. @returns index after what has been dealt with */
  #begin(bytes: Buffer, at: number, end: number): number {
    const { parser } = this;
    let next = at + parser.headEnd;
    const exchange = new ExchangeImpl(this, bytes.toString("latin1", at, next));
    this.#requests++;
    const problem = interpretRequest(parser, exchange.head, exchange);
    if (problem !== undefined) {
      this.#reject(problem);
      return end;
    }
    if (exchange.bodyLength !== 0) {
      const body = new RequestBody(exchange.bodyLength);
      this.#body = exchange.body = body;
      while (next < end && !body.complete && !body.failed && exchange.wantsBody()) {
        next = body.next(bytes, next, end);
        if (body.dataEnd > body.dataStart) body.hold(bytes, body.dataStart, body.dataEnd);
      }
      if (body.failed) {
        this.#reject(REJECTS.chunk);
        return end;
      }
      // A client that has begun to send needs no permission.
      if (body.received > 0) exchange.expectsContinue = false;
    }
    this.#exchange = exchange;
    this.#host.exchangeStarted();
    this.handler.onRequest(exchange);
    return next;
  }

  #consumeBody(body: RequestBody, bytes: Buffer, from: number, end: number): number {
    const exchange = this.#exchange;
    if (exchange !== undefined && !exchange.wantsBody() && !exchange.sent) return from;
    const at = body.next(bytes, from, end);
    if (body.failed) {
      if (exchange === undefined) this.destroy();
      else this.#rejectBody(exchange, REJECTS.chunk);
      return end;
    }
    if (body.dataEnd > body.dataStart) {
      if (exchange !== undefined) exchange.bodyData(bytes, body.dataStart, body.dataEnd);
      else if ((this.#dropped += body.dataEnd - body.dataStart) > this.limits.drainBodyBytes) this.#linger();
    }
    if (body.complete) {
      if (this.#exchange === undefined) this.#body = undefined;
      else if (this.#exchange === exchange) this.#exchange.bodyEnd();
    }
    return at;
  }

  #tunnelData(bytes: Buffer): void {
    this.tunnelBytes += bytes.length;
    this.#exchange?.tunnelData(bytes);
  }

  /** Answers what never became an exchange, and closes. */
  #reject(reject: Reject): void {
    const { headers, body } = this.#host.rejectReply(reject);
    const text = `${statusLine(reject.status)}${headers}${dateLine()}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`;
    this.text = "";
    this.#socket.cork();
    this.write(text);
    this.#socket.write(body);
    this.#socket.uncork();
    this.#linger();
  }

  /** The body of the present exchange is at fault. */
  #rejectBody(exchange: ExchangeImpl, reject: Reject): void {
    exchange.keepAlive = false;
    if (exchange.state === "replying") {
      exchange.cut("rejected");
      return;
    }
    exchange.status = reject.status;
    this.#reject(reject);
    exchange.finish("rejected");
  }

  #linger(): void {
    if (this.#lingering || this.#gone) return;
    this.#lingering = true;
    this.#body = undefined;
    this.#pending = EMPTY;
    this.#pendingLength = 0;
    this.#socket.end();
    this.#wait = WAIT_LINGER;
    this.#lingerUntil = this.#host.now + MOST_LINGER_MS;
    this.#waitAt = this.#host.now + (this.queued ? this.limits.writeTimeoutMs : LINGER_MS);
    this.updateReading();
  }

  #drained(): void {
    const exchange = this.#exchange;
    if (exchange !== undefined) exchange.clientDrained();
    else if (!this.#lingering) this.#goOn();
  }

  #ended(): void {
    const exchange = this.#exchange;
    if (exchange?.isTunnel === true) {
      exchange.tunnelEnded("client");
      return;
    }
    if (this.#lingering) {
      this.#socket.end();
      return;
    }
    this.#gone = true;
    this.#socket.destroy();
    exchange?.finish("client-gone");
  }

  #closed(): void {
    this.#gone = true;
    const exchange = this.#exchange;
    exchange?.finish(exchange.isTunnel ? "tunnel" : "client-gone");
    this.#host.closed(this);
  }
}
