import { connect, type Socket } from "node:net";
import { ChunkDecoder } from "./chunk-decoder.ts";
import type { ExchangeImpl } from "./exchange.ts";
import { COMPLETE, findHeader, type HeadLimits, HeadParser, headerValue, REJECTED } from "./head-parser.ts";
import {
  relayBody,
  relayContinue,
  relayDrained,
  relayEnd,
  relayFlush,
  relayHead,
  relayLost,
  relayTunnelData,
  relayTunnelEnd,
  relayWhole,
} from "./relay.ts";
import { CHUNKED, interpretResponse, type ResponseFacts, UNTIL_CLOSE } from "./response-head.ts";
import type { RelayFailureKind, ResponseHead } from "./types.ts";

/**
 * One connection to a pod: finds the responses in what it sends.
 *
 * 1. All connections read into one shared buffer. Bytes of it that are written on as a Buffer are copied first, unless the connection
 *    has a private buffer; a private buffer that is still queued on the client's socket is replaced before the next read.
 * 2. A connection goes back to its pool only when request and response were whole, both sides allow it and nothing is left over.
 * 3. After `#exchange` is taken away, nothing that arrives here can reach that exchange.
 */

const READ_BYTES = 65_536;
const SHARED = Buffer.allocUnsafeSlow(READ_BYTES);
/** A response whose first part is this large gets a private buffer, and is not copied any more. */
const STREAMING_BYTES = 16_384;
/** Up to this, head and body of a response become one string. */
const SMALL_RESPONSE_BYTES = 8_192;

const IDLE = 0;
const HEAD = 1;
const LENGTH = 2;
const CHUNKS = 3;
const CLOSE = 4;
const TUNNEL = 5;
const DEAD = 6;

/** What a connection needs of the pool that it belongs to. */
export interface ConnectionOwner {
  readonly host: string;
  readonly port: number;
  connected(connection: UpstreamConnection): void;
  /** The connection can serve the next exchange. */
  released(connection: UpstreamConnection): void;
  /** The connection is gone, having served or having never been made (`error`). */
  lost(connection: UpstreamConnection, error: Error | undefined): void;
  readonly headLimits: HeadLimits;
}

export class UpstreamConnection implements ResponseHead, ResponseFacts {
  readonly #owner: ConnectionOwner;
  readonly parser: HeadParser;
  readonly socket: Socket;
  #phase = IDLE;
  #exchange: ExchangeImpl | undefined;
  #paused = false;
  #partial: Buffer | undefined;
  #readBuffer = SHARED;
  #remaining = 0;
  #decoder: ChunkDecoder | undefined;
  #error: Error | undefined;
  isConnected = false;
  /** Requests that it has served, when it went idle, and how long it may stay so (0 = as its pool says). */
  served = 0;
  idleSince = 0;
  keepAliveMs = 0;
  /** The request is on the wire completely. */
  requestWhole = false;
  /** Any byte of the present response has come. */
  responseStarted = false;

  /** The response's head as latin1; more bytes of the same read may follow it. */
  head = "";
  #headFrom = 0;
  status = 0;
  framing = 0;
  declaredLength = -1;
  keepAlive = true;
  named: ReadonlySet<string> | undefined;

  constructor(owner: ConnectionOwner) {
    this.#owner = owner;
    this.parser = new HeadParser(true, owner.headLimits);
    this.socket = connect({
      host: owner.host,
      port: owner.port,
      noDelay: true,
      allowHalfOpen: true,
      onread: { buffer: () => this.#readBuffer, callback: (bytes) => this.#read(bytes) },
    });
    this.socket.on("connect", () => {
      this.isConnected = true;
      this.#owner.connected(this);
    });
    this.socket.on("end", () => this.#ended());
    this.socket.on("drain", () => {
      if (this.#exchange !== undefined) relayDrained(this.#exchange);
    });
    this.socket.on("error", (error) => {
      this.#error = error;
    });
    this.socket.on("close", () => this.#closed());
  }

  get bodyLength(): number {
    return this.framing < 0 ? -1 : this.framing;
  }

  header(name: string): string | undefined {
    const index = findHeader(this.parser, this.head, name, 0);
    return index < 0 ? undefined : headerValue(this.parser, this.head, index);
  }

  /** Takes an exchange; its request is written by the caller. */
  start(exchange: ExchangeImpl): void {
    this.#exchange = exchange;
    this.#phase = HEAD;
    this.requestWhole = false;
    this.responseStarted = false;
    this.parser.reset();
    this.served++;
  }

  /** Breaks the connection and forgets its exchange, which is told nothing. A reset tells the upstream that nobody waits any more. */
  abandon(): void {
    const busy = this.#exchange !== undefined && this.isConnected;
    this.#exchange = undefined;
    this.#phase = DEAD;
    if (busy) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Lets the exchange of a finished tunnel go; what is queued still leaves, then the connection ends. */
  detach(): void {
    this.#exchange = undefined;
    this.#phase = DEAD;
  }

  /** Stops reading until `resume`. Only while an exchange is relayed. */
  pause(): void {
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.socket.resume();
  }

  /** Bytes of the read that the present head came with, as latin1. */
  bodyText(bytes: Buffer, start: number, end: number): string {
    return end - this.#headFrom <= this.head.length
      ? this.head.slice(start - this.#headFrom, end - this.#headFrom)
      : bytes.toString("latin1", start, end);
  }

  /** Bytes of the last read in a form that may be kept by a socket. */
  keepable(bytes: Buffer, start: number, end: number): Buffer {
    if (bytes !== SHARED) return bytes.subarray(start, end);
    if (end - start >= STREAMING_BYTES && this.#readBuffer === SHARED)
      this.#readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
    return Buffer.from(bytes.subarray(start, end));
  }

  /** To be called after a write of `keepable` bytes. @param queued whether the socket has not taken all of them yet */
  written(queued: boolean): void {
    if (queued && this.#readBuffer !== SHARED) this.#readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);
  }

  #die(): void {
    this.#phase = DEAD;
    this.socket.destroy();
  }

  #fail(kind: RelayFailureKind, message: string): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#die();
    if (exchange !== undefined) relayLost(exchange, this, kind, message);
  }

  #read(count: number): boolean {
    let bytes: Buffer = this.#readBuffer;
    let end = count;
    let at = 0;
    this.responseStarted = true;
    if (this.#partial !== undefined) {
      bytes = Buffer.concat([this.#partial, bytes.subarray(0, count)]);
      end = bytes.length;
      this.#partial = undefined;
    }
    while (at < end && this.#phase === HEAD) {
      const verdict = this.parser.parse(bytes, at, end);
      if (verdict === REJECTED) {
        this.#fail("bad-response", this.parser.reject.message);
        return false;
      }
      if (verdict !== COMPLETE) {
        this.#partial = Buffer.from(bytes.subarray(at, end));
        return true;
      }
      // A small body becomes text along with the head: one call of the engine less.
      const upTo = end - at <= SMALL_RESPONSE_BYTES ? end : at + this.parser.headEnd;
      this.head = bytes.toString("latin1", at, upTo);
      this.#headFrom = at;
      at = this.#headDone(bytes, at + this.parser.headEnd, end);
    }
    if (at < end) this.#body(bytes, at, end);
    if (this.#exchange !== undefined) relayFlush(this.#exchange, this);
    return !this.#paused && this.#phase !== DEAD;
  }

  /** @returns index after what has been dealt with */
  #headDone(bytes: Buffer, at: number, end: number): number {
    const exchange = this.#exchange;
    if (exchange === undefined) return end;
    this.status = this.parser.status;
    if (this.status < 200) {
      if (this.status === 101) {
        if (!exchange.upgrading) {
          this.#fail("bad-response", "Upstream switched protocols unasked");
          return end;
        }
        this.#phase = TUNNEL;
        this.framing = 0;
        this.named = undefined;
        relayHead(exchange, this);
        return at;
      }
      if (this.status === 100) relayContinue(exchange);
      this.parser.reset();
      return at;
    }
    const problem = interpretResponse(this.parser, this.head, exchange.method === "HEAD", this);
    if (problem !== undefined) {
      this.#fail("bad-response", problem);
      return end;
    }
    return this.#beginBody(exchange, bytes, at, end);
  }

  #beginBody(exchange: ExchangeImpl, bytes: Buffer, at: number, end: number): number {
    const { framing } = this;
    if (framing >= 0 && framing <= end - at) {
      // The whole response is here: the usual case. Idle before its exchange ends, so that a next one finds it.
      const leftOver = end - at > framing;
      this.#phase = IDLE;
      if (leftOver) this.keepAlive = false;
      relayWhole(exchange, this, bytes, at, at + framing);
      return end;
    }
    if (framing === CHUNKED) {
      this.#decoder = new ChunkDecoder();
      this.#phase = CHUNKS;
    } else if (framing === UNTIL_CLOSE) this.#phase = CLOSE;
    else {
      this.#remaining = framing;
      this.#phase = LENGTH;
    }
    relayHead(exchange, this);
    return at;
  }

  #body(bytes: Buffer, from: number, end: number): void {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      if (this.#phase !== DEAD) this.#die();
      return;
    }
    switch (this.#phase) {
      case LENGTH: {
        const until = Math.min(end, from + this.#remaining);
        this.#remaining -= until - from;
        relayBody(exchange, this, bytes, from, until);
        if (this.#remaining === 0 && this.#phase === LENGTH) this.#finished(exchange, until < end);
        return;
      }
      case CHUNKS:
        this.#chunks(exchange, bytes, from, end);
        return;
      case CLOSE:
        relayBody(exchange, this, bytes, from, end);
        return;
      case TUNNEL:
        relayTunnelData(exchange, this, bytes, from, end);
        return;
      default:
        this.#die();
    }
  }

  #chunks(exchange: ExchangeImpl, bytes: Buffer, from: number, end: number): void {
    const decoder = this.#decoder;
    if (decoder === undefined) return;
    let at = from;
    while (at < end && this.#phase === CHUNKS) {
      at = decoder.step(bytes, at, end);
      if (decoder.failed) {
        this.#fail("bad-response", "Chunked body of the upstream is malformed");
        return;
      }
      if (decoder.dataEnd > decoder.dataStart)
        relayBody(exchange, this, bytes, decoder.dataStart, decoder.dataEnd);
      if (decoder.done && this.#phase === CHUNKS) this.#finished(exchange, at < end);
    }
  }

  #finished(exchange: ExchangeImpl, leftOver: boolean): void {
    if (leftOver) this.keepAlive = false;
    this.#phase = IDLE;
    relayEnd(exchange, this);
  }

  /** Lets the exchange go after its response was whole, and serves the next one or goes idle (invariant 2). */
  release(): void {
    this.#exchange = undefined;
    this.#decoder = undefined;
    this.#readBuffer = SHARED;
    if (!this.requestWhole || !this.keepAlive || this.#phase !== IDLE) {
      this.#die();
      return;
    }
    this.resume();
    this.#owner.released(this);
  }

  #ended(): void {
    const exchange = this.#exchange;
    if (this.#phase === TUNNEL && exchange !== undefined) {
      relayTunnelEnd(exchange);
      return;
    }
    if (this.#phase === CLOSE && exchange !== undefined) this.#finished(exchange, false);
    else if (exchange !== undefined)
      this.#fail("reset", "Upstream closed the connection before its response was whole");
    else this.#die();
  }

  #closed(): void {
    const error = this.#error;
    if (this.#exchange !== undefined) {
      const tunnel = this.#phase === TUNNEL;
      if (tunnel) relayTunnelEnd(this.#exchange);
      else this.#fail("reset", error?.message ?? "Upstream closed the connection");
    }
    this.#phase = DEAD;
    this.#exchange = undefined;
    this.#owner.lost(this, error);
  }
}
