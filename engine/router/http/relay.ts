import type { ExchangeImpl } from "./exchange.ts";
import { CONTENT_LENGTH, DATE, HOST } from "./head-parser.ts";
import { passingLines } from "./header-filter.ts";
import { dateLine, statusLine } from "./reply-head.ts";
import type { Refusal, RelayFailureKind } from "./types.ts";
import type { UpstreamConnection } from "./upstream-connection.ts";

/**
 * What happens to an exchange while it is relayed: functions that the upstream's side calls.
 *
 * 1. Body bytes are framed anew in both directions; no framing byte is ever passed on, trailers end here.
 * 2. Whichever side cannot write stops the reading of the other.
 * 3. Until `responseHead` runs nothing has reached the client, so that every failure before it gives the exchange back to the handler.
 * 4. What is small leaves as one latin1 string: the text of an exchange is gathered and flushed at the end of each read.
 * 5. While a response is held back (`exchange.hold` after its head) nothing of it has reached the client, so that 3. holds to its end.
 */

export const PHASE_NONE = 0;
/** Waits for a connection. */
export const PHASE_QUEUED = 1;
/** The head has been sent; the body waits for the upstream's word. */
export const PHASE_CONTINUE = 2;
/** Waits for the response head. */
export const PHASE_RESPONSE = 3;
/** The response's body or a tunnel. */
export const PHASE_BODY = 4;

/** Bodies up to this travel in one string with their head. */
const SMALL_BODY_BYTES = 16_384;
const CONTINUE_TIMEOUT_MS = 1000;
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** The exchange has a connection: sends the request. */
export function relaySend(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  const { body, plan } = exchange;
  exchange.connection = connection;
  exchange.sent = true;
  let wait = false;
  if (body !== undefined && !body.complete) {
    const large = exchange.bodyLength < 0 || exchange.bodyLength > exchange.limits.retainBodyBytes;
    wait = large && plan.expectContinue;
  }
  exchange.gateOpen = !wait;
  let text = requestHead(exchange, wait);
  if (wait) {
    exchange.enterPhase(PHASE_CONTINUE, CONTINUE_TIMEOUT_MS);
    connection.socket.write(text, "latin1");
  } else {
    exchange.enterPhase(PHASE_RESPONSE, plan.responseTimeoutMs);
    if (body === undefined || body.heldBytes <= SMALL_BODY_BYTES) {
      if (body !== undefined) text += heldText(exchange);
      connection.socket.write(text, "latin1");
    } else {
      connection.socket.cork();
      connection.socket.write(text, "latin1");
      sendBody(exchange, body.held(), 0, body.heldBytes);
      connection.socket.uncork();
    }
    if (body === undefined || body.complete) connection.requestWhole = true;
    else if (exchange.expectsContinue) exchange.client.sendContinue();
  }
  if (body !== undefined) exchange.client.updateReading();
}

/** Sends bytes of the request's body on. */
export function sendBody(exchange: ExchangeImpl, bytes: Buffer, start: number, end: number): void {
  const { connection } = exchange;
  if (connection === undefined || end === start) return;
  const { socket } = connection;
  if (exchange.chunkedUp) {
    socket.cork();
    socket.write(`${(end - start).toString(16)}\r\n`, "latin1");
    socket.write(exchange.client.keepable(bytes, start, end));
    socket.write("\r\n", "latin1");
    socket.uncork();
  } else socket.write(exchange.client.keepable(bytes, start, end));
  if (socket.writableNeedDrain) exchange.client.updateReading();
}

/** The request's body is complete. */
export function sendBodyEnd(exchange: ExchangeImpl): void {
  const { connection } = exchange;
  if (connection === undefined || !exchange.gateOpen || connection.requestWhole) return;
  if (exchange.chunkedUp) connection.socket.write("0\r\n\r\n", "latin1");
  connection.requestWhole = true;
}

/** The upstream wants the body (or has had its time to refuse it). */
export function relayContinue(exchange: ExchangeImpl): void {
  const { body } = exchange;
  if (exchange.gateOpen || body === undefined) return;
  exchange.gateOpen = true;
  exchange.enterPhase(PHASE_RESPONSE, exchange.plan.responseTimeoutMs);
  sendBody(exchange, body.held(), 0, body.heldBytes);
  if (body.complete) sendBodyEnd(exchange);
  else if (exchange.expectsContinue) exchange.client.sendContinue();
  exchange.client.updateReading();
}

/** The upstream takes bytes again. */
export function relayDrained(exchange: ExchangeImpl): void {
  exchange.client.updateReading();
}

/** The exchange got no connection. */
export function relayQueueFailed(exchange: ExchangeImpl, kind: RelayFailureKind, message: string): void {
  failRelay(exchange, kind, message, false, false);
}

/** The connection broke, or what it said was not a response. The connection has let go of the exchange. */
export function relayLost(
  exchange: ExchangeImpl,
  connection: UpstreamConnection,
  kind: RelayFailureKind,
  message: string,
): void {
  const { counters } = exchange.pool;
  if (kind === "bad-response") counters.badResponses++;
  else counters.resets++;
  exchange.connection = undefined;
  if (exchange.state === "replying") {
    exchange.client.flush();
    exchange.cut("upstream-broken");
    return;
  }
  const mayHaveRun = !(
    connection.served > 1 &&
    !connection.responseStarted &&
    kind === "reset" &&
    REPEATABLE.has(exchange.method)
  );
  failRelay(exchange, kind, message, mayHaveRun, connection.served > 1);
}

/**
 * Gives the exchange back to the handler.
 * @param mayHaveRun false when repeating can do no harm
 */
export function failRelay(
  exchange: ExchangeImpl,
  kind: RelayFailureKind,
  message: string,
  mayHaveRun: boolean,
  reused: boolean,
): void {
  const upstream = exchange.pool;
  const { sent } = exchange;
  exchange.leaveRelay();
  const safeToRepeat = !mayHaveRun && exchange.canResend && kind !== "deadline" && kind !== "body-too-large";
  exchange.handler.onFailed(exchange, { kind, message, upstream, sent, reused, safeToRepeat });
}

/** The response head has come, and (part of) its body is still to come. */
export function relayHead(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  const refusal = refusalOf(exchange, connection);
  if (refusal !== undefined) {
    connection.abandon();
    giveBackRefused(exchange, refusal);
    return;
  }
  exchange.enterPhase(PHASE_BODY, exchange.plan.idleTimeoutMs);
  if (exchange.hold !== undefined && isHeld(exchange, connection)) return;
  exchange.client.text += responseHead(exchange, connection);
  if (connection.status === 101) exchange.openTunnel();
}

/** Whether the response that begins is held back; if not, it goes on as if nobody had asked. */
function isHeld(exchange: ExchangeImpl, connection: UpstreamConnection): boolean {
  if (exchange.hold?.takes(connection.status, connection.framing) === true) return true;
  exchange.hold = undefined;
  return false;
}

/** A held response is whole: it is the handler's. */
function giveHeld(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  const { hold } = exchange;
  // The connection may serve another exchange as soon as it is released.
  const { status } = connection;
  const added = exchange.handler.onResponse(exchange, connection);
  const lines = passingLines(connection.parser, connection.head, exchange.responseFilter, connection.named);
  exchange.hold = undefined;
  exchange.responded = true;
  exchange.setDeadline(0);
  exchange.leaveRelay();
  connection.release();
  hold?.whole(status, lines + added);
}

/** A held response is too long: what there is of it goes on, and the rest as it comes. */
function letGo(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  const body = exchange.hold?.body() ?? Buffer.alloc(0);
  exchange.hold = undefined;
  exchange.client.text += responseHead(exchange, connection);
  relayBody(exchange, connection, body, 0, body.length);
}

/** The whole response is in one buffer. */
export function relayWhole(
  exchange: ExchangeImpl,
  connection: UpstreamConnection,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const refusal = refusalOf(exchange, connection);
  if (refusal !== undefined) {
    connection.release();
    giveBackRefused(exchange, refusal);
    return;
  }
  const { client, hold } = exchange;
  if (hold !== undefined && isHeld(exchange, connection)) {
    hold.add(bytes, start, end);
    giveHeld(exchange, connection);
    return;
  }
  const text = responseHead(exchange, connection);
  exchange.bytesOut += end - start;
  if (end - start <= SMALL_BODY_BYTES) {
    client.write(end === start ? text : text + connection.bodyText(bytes, start, end));
  } else {
    client.text = text;
    client.writeBytes(connection.keepable(bytes, start, end));
  }
  relayOver(exchange, connection);
}

/** A part of the response's body. */
export function relayBody(
  exchange: ExchangeImpl,
  connection: UpstreamConnection,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const { client, hold } = exchange;
  const length = end - start;
  exchange.enterPhase(PHASE_BODY, exchange.plan.idleTimeoutMs);
  if (hold !== undefined) {
    if (!hold.add(bytes, start, end)) letGo(exchange, connection);
    return;
  }
  exchange.bytesOut += length;
  if (exchange.chunkedDown) client.text += `${length.toString(16)}\r\n`;
  if (length <= SMALL_BODY_BYTES) {
    client.text += bytes.toString("latin1", start, end);
    if (exchange.chunkedDown) client.text += "\r\n";
    if (client.text.length >= SMALL_BODY_BYTES && !client.flush()) connection.pause();
    return;
  }
  const free = client.writeBytes(connection.keepable(bytes, start, end));
  connection.written(client.queued);
  if (exchange.chunkedDown) client.text += "\r\n";
  if (!free) connection.pause();
}

/** The end of a read of the upstream: what was gathered leaves. */
export function relayFlush(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  if (!exchange.client.flush()) connection.pause();
}

/** The response is whole. */
export function relayEnd(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  const { client } = exchange;
  if (exchange.hold !== undefined) {
    giveHeld(exchange, connection);
    return;
  }
  if (exchange.chunkedDown) client.text += "0\r\n\r\n";
  client.flush();
  relayOver(exchange, connection);
}

/** Bytes from the upstream within a tunnel. */
export function relayTunnelData(
  exchange: ExchangeImpl,
  connection: UpstreamConnection,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const { client } = exchange;
  exchange.bytesOut += end - start;
  exchange.enterPhase(PHASE_BODY, exchange.plan.idleTimeoutMs);
  const free = client.writeBytes(connection.keepable(bytes, start, end));
  connection.written(client.queued);
  if (!free) connection.pause();
}

/** The upstream has ended its side of a tunnel. */
export function relayTunnelEnd(exchange: ExchangeImpl): void {
  exchange.client.flush();
  exchange.tunnelEnded("upstream");
}

function relayOver(exchange: ExchangeImpl, connection: UpstreamConnection): void {
  exchange.leaveRelay();
  connection.release();
  exchange.finish("relayed");
}

function refusalOf(exchange: ExchangeImpl, connection: UpstreamConnection): Refusal | undefined {
  const { status } = connection;
  if (status !== 421 && status !== 429 && status !== 503) return undefined;
  const { refusalHeader } = exchange.plan;
  const reason = refusalHeader === "" ? undefined : connection.header(refusalHeader);
  return reason === undefined ? undefined : { status, reason, retryAfter: connection.header("retry-after") };
}

function giveBackRefused(exchange: ExchangeImpl, refusal: Refusal): void {
  exchange.pool.counters.refusals++;
  exchange.leaveRelay();
  exchange.handler.onRefused(exchange, refusal);
}

/** The head to send to the upstream. Sets how the body is framed there. */
function requestHead(exchange: ExchangeImpl, wait: boolean): string {
  const { body, parser } = exchange;
  let framing = "";
  exchange.chunkedUp = false;
  if (body !== undefined) {
    if (body.complete && !body.overflowed) framing = `content-length: ${body.heldBytes}\r\n`;
    else if (exchange.bodyLength >= 0) framing = `content-length: ${exchange.bodyLength}\r\n`;
    else {
      framing = "transfer-encoding: chunked\r\n";
      exchange.chunkedUp = true;
    }
    if (wait) framing += "expect: 100-continue\r\n";
  } else if (parser.first[CONTENT_LENGTH] !== 0) framing = "content-length: 0\r\n";
  if (exchange.upgrading) framing += "connection: Upgrade\r\nupgrade: websocket\r\n";
  if (parser.first[HOST] === 0)
    framing += `host: ${exchange.host === "" ? addressOf(exchange) : exchange.host}\r\n`;
  const lines = passingLines(parser, exchange.head, exchange.requestFilter, exchange.named);
  return `${exchange.method} ${exchange.target} HTTP/1.1\r\n${lines}${exchange.headers}${framing}\r\n`;
}

function addressOf(exchange: ExchangeImpl): string {
  const { host, port } = exchange.pool;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The held part of the body, framed, as text to follow the head. */
function heldText(exchange: ExchangeImpl): string {
  const { body } = exchange;
  if (body === undefined || body.heldBytes === 0) return "";
  const text = body.held().toString("latin1");
  return exchange.chunkedUp ? `${body.heldBytes.toString(16)}\r\n${text}\r\n` : text;
}

/** The head to send to the client. Sets how the body is framed there; from now on the exchange cannot be given back. */
function responseHead(exchange: ExchangeImpl, connection: UpstreamConnection): string {
  const { status, framing } = connection;
  exchange.state = "replying";
  exchange.status = status;
  exchange.responded = true;
  const added = exchange.handler.onResponse(exchange, connection);
  const lines = passingLines(connection.parser, connection.head, exchange.responseFilter, connection.named);
  let text = statusLine(status) + lines + added;
  if (connection.parser.first[DATE] === 0) text += dateLine();
  if (status === 101) return `${text}connection: Upgrade\r\nupgrade: websocket\r\n\r\n`;
  if (exchange.method === "HEAD" || status === 304) {
    if (connection.declaredLength >= 0) text += `content-length: ${connection.declaredLength}\r\n`;
  } else if (status !== 204) {
    if (framing >= 0) text += `content-length: ${framing}\r\n`;
    else if (exchange.minorVersion === 1) {
      exchange.chunkedDown = true;
      text += "transfer-encoding: chunked\r\n";
    } else exchange.keepAlive = false;
  }
  return `${text}${exchange.connectionLine()}\r\n`;
}
