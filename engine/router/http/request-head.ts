import { TARGET_ENCODE } from "./byte-class.ts";
import {
  CONNECTION,
  CONTENT_LENGTH,
  EXPECT,
  findHeader,
  type HeadParser,
  HOST,
  headerValue,
  TRANSFER_ENCODING,
  UPGRADE,
} from "./head-parser.ts";
import { REJECTS, type Reject } from "./reject.ts";
import {
  type Authority,
  normalizePath,
  normalizeQuery,
  PATH_NEEDS_WORK,
  parseAuthority,
  splitAbsolute,
} from "./target.ts";

/** What a request's head says, as far as the core needs it. Filled by `interpretRequest`. */
export interface RequestFacts {
  method: string;
  path: string;
  query: string;
  host: string;
  hostname: string;
  minorVersion: 0 | 1;
  /** Bytes, 0 for none, -1 for chunked. */
  bodyLength: number;
  /** Whether the client lets the connection stay. */
  keepAlive: boolean;
  expectsContinue: boolean;
  upgrade: boolean;
  /** Lower-case names that `Connection` lists beyond close, keep-alive and upgrade; undefined for none. */
  named: ReadonlySet<string> | undefined;
}

/** What a `Connection` header says. */
export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  readonly named: ReadonlySet<string> | undefined;
}

const MAX_REMEMBERED_HOSTS = 1024;
const remembered = new Map<string, Authority>();
/** Looking a string up hashes it; comparing it with the one before does not. */
let lastValue = "";
let lastAuthority: Authority | undefined;

/**
 * Judges a parsed head by the rules that concern several of its parts.
 * @param head the head as latin1
 * @returns why the request is refused, or undefined when `facts` has been filled
 */
export function interpretRequest(parser: HeadParser, head: string, facts: RequestFacts): Reject | undefined {
  facts.minorVersion = parser.minorVersion;
  facts.method = methodOf(head, parser.methodEnd);
  if (facts.method === "CONNECT") return REJECTS.connect;
  return (
    interpretTarget(parser, head, facts) ??
    interpretFraming(parser, head, facts) ??
    interpretConnection(parser, head, facts)
  );
}

/**
 * Reads Content-Length strictly.
 * @returns bytes, or -1 when it is not one plain decimal number
 */
export function contentLength(value: string): number {
  if (value.length === 0 || value.length > 15) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}

/** Reads all `Connection` headers of a head together. */
export function connectionOptions(parser: HeadParser, head: string): ConnectionOptions {
  let close = false;
  let keepAlive = false;
  let upgrade = false;
  let named: Set<string> | undefined;
  let index = parser.first[CONNECTION]! - 1;
  while (index >= 0) {
    for (const part of headerValue(parser, head, index).split(",")) {
      const token = part.trim().toLowerCase();
      if (token === "close") close = true;
      else if (token === "keep-alive") keepAlive = true;
      else if (token === "upgrade") upgrade = true;
      else if (token !== "") (named ??= new Set()).add(token);
    }
    index =
      (parser.repeated & (1 << CONNECTION)) === 0 ? -1 : findHeader(parser, head, "connection", index + 1);
  }
  return { close, keepAlive, upgrade, named };
}

function methodOf(head: string, end: number): string {
  switch (end) {
    case 3:
      if (head.startsWith("GET")) return "GET";
      if (head.startsWith("PUT")) return "PUT";
      break;
    case 4:
      if (head.startsWith("POST")) return "POST";
      if (head.startsWith("HEAD")) return "HEAD";
      break;
    default:
  }
  // An empty line may precede the request line.
  return head.slice(head.charCodeAt(0) === 13 ? 2 : 0, end);
}

function interpretTarget(parser: HeadParser, head: string, facts: RequestFacts): Reject | undefined {
  const { targetStart, targetEnd, pathEnd } = parser;
  const hostIndex = parser.first[HOST]! - 1;
  let authority: Authority | undefined;
  if (hostIndex >= 0) {
    if ((parser.repeated & (1 << HOST)) !== 0) return REJECTS.hostTwice;
    authority = authorityOf(headerValue(parser, head, hostIndex));
    if (authority === undefined) return REJECTS.hostInvalid;
  } else if (facts.minorVersion === 1) return REJECTS.hostMissing;

  let path = head.slice(targetStart, pathEnd);
  facts.query = pathEnd === targetEnd ? "" : head.slice(pathEnd, targetEnd);
  if ((parser.queryFlags & TARGET_ENCODE) !== 0) facts.query = normalizeQuery(facts.query);
  if (head.charCodeAt(targetStart) !== 47) {
    if (path === "*" && facts.method === "OPTIONS" && facts.query === "") {
      facts.path = "*";
    } else {
      const absolute = splitAbsolute(path);
      if (absolute === undefined) return path.includes("://") ? REJECTS.absolute : REJECTS.targetForm;
      if (authority !== undefined && authority.host !== absolute.authority.host) return REJECTS.hostMismatch;
      authority = absolute.authority;
      path = absolute.rest;
    }
  }
  facts.host = authority === undefined ? "" : authority.host;
  facts.hostname = authority === undefined ? "" : authority.hostname;
  if ((parser.pathFlags & PATH_NEEDS_WORK) !== 0) {
    const normal = normalizePath(path);
    if (normal === undefined) return REJECTS.path;
    path = normal;
  }
  facts.path = path;
  return undefined;
}

function interpretFraming(parser: HeadParser, head: string, facts: RequestFacts): Reject | undefined {
  const lengthIndex = parser.first[CONTENT_LENGTH]! - 1;
  const encodingIndex = parser.first[TRANSFER_ENCODING]! - 1;
  facts.bodyLength = 0;
  if (encodingIndex >= 0) {
    if (lengthIndex >= 0) return REJECTS.lengthAndEncoding;
    if (facts.minorVersion === 0) return REJECTS.encodingInOld;
    if ((parser.repeated & (1 << TRANSFER_ENCODING)) !== 0) return REJECTS.encodingTwice;
    const encoding = headerValue(parser, head, encodingIndex).toLowerCase();
    if (encoding !== "chunked") {
      return /^chunked\s*,|^$/.test(encoding) ? REJECTS.encodingTwice : REJECTS.encodingUnknown;
    }
    facts.bodyLength = -1;
  } else if (lengthIndex >= 0) {
    if ((parser.repeated & (1 << CONTENT_LENGTH)) !== 0) return REJECTS.lengthInvalid;
    const length = contentLength(headerValue(parser, head, lengthIndex));
    if (length < 0) return REJECTS.lengthInvalid;
    facts.bodyLength = length;
  }
  const expectIndex = parser.first[EXPECT]! - 1;
  facts.expectsContinue = false;
  if (expectIndex >= 0 && facts.minorVersion === 1) {
    const repeated = (parser.repeated & (1 << EXPECT)) !== 0;
    if (repeated || headerValue(parser, head, expectIndex).toLowerCase() !== "100-continue")
      return REJECTS.expectation;
    facts.expectsContinue = facts.bodyLength !== 0;
  }
  return undefined;
}

function interpretConnection(parser: HeadParser, head: string, facts: RequestFacts): undefined {
  facts.keepAlive = facts.minorVersion === 1;
  facts.upgrade = false;
  facts.named = undefined;
  if (parser.first[CONNECTION] === 0) return;
  const options = connectionOptions(parser, head);
  facts.keepAlive = !options.close && (facts.keepAlive || options.keepAlive);
  facts.named = options.named;
  const upgradeIndex = parser.first[UPGRADE]! - 1;
  // Anything but a plain WebSocket handshake (h2c above all) stays an ordinary request: its Upgrade header goes no further.
  facts.upgrade =
    options.upgrade &&
    upgradeIndex >= 0 &&
    facts.method === "GET" &&
    facts.minorVersion === 1 &&
    facts.bodyLength === 0 &&
    headerValue(parser, head, upgradeIndex).toLowerCase() === "websocket";
}

/** Clients repeat few names, so that checking each once is enough. */
function authorityOf(value: string): Authority | undefined {
  if (value === lastValue) return lastAuthority;
  let authority = remembered.get(value);
  if (authority === undefined) {
    authority = parseAuthority(value);
    if (authority === undefined) return undefined;
    if (remembered.size >= MAX_REMEMBERED_HOSTS) remembered.clear();
    remembered.set(value, authority);
  }
  lastValue = value;
  lastAuthority = authority;
  return authority;
}
