import { BlockList, isIP, isIPv6 } from "node:net";
import { flatText } from "./flat-text.ts";
import type { Exchange } from "./http/types.ts";

/** Request headers that only a trusted proxy may set. They are stripped from every request and written anew. */
export const FORWARDED_HEADERS = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-forwarded-server",
  "x-original-url",
  "x-rewrite-url",
  "x-real-ip",
] as const;

/** Writes the forwarding headers of a request, as lines. */
export type ForwardedWriter = (exchange: Exchange) => string;

/** Writer that keeps what proxies of the given addresses and ranges say, and only adds to it; everybody else's word is replaced. */
export function forwardedWriter(trusted: readonly string[]): ForwardedWriter {
  if (trusted.length === 0) return ownLines;
  const proxies = blockList(trusted);
  return (exchange) => {
    const { clientAddress } = exchange;
    if (!proxies.check(clientAddress, isIPv6(clientAddress) ? "ipv6" : "ipv4")) return ownLines(exchange);
    return addedLines(exchange);
  };
}

/**
 * Address of the client that a request comes from: the peer's, or, when that is a trusted proxy, the last address of `X-Forwarded-For`
 * that is none.
 */
export function clientAddressReader(trusted: readonly string[]): (exchange: Exchange) => string {
  if (trusted.length === 0) return (exchange) => exchange.clientAddress;
  const proxies = blockList(trusted);
  const isProxy = (address: string): boolean => proxies.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  return (exchange) => {
    const { clientAddress } = exchange;
    if (!isProxy(clientAddress)) return clientAddress;
    const chain = exchange.headerJoined("x-forwarded-for")?.split(",") ?? [];
    let client = clientAddress;
    for (const entry of chain.toReversed()) {
      const address = entry.trim();
      if (isIP(address) === 0) break;
      client = address;
      if (!isProxy(address)) break;
    }
    return client;
  };
}

function blockList(ranges: readonly string[]): BlockList {
  const result = new BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    if (bits === undefined) result.addAddress(address, family);
    else result.addSubnet(address, Number(bits), family);
  }
  return result;
}

/** Forwarding lines of a client connection; they change with the host alone. */
class OwnLines {
  readonly host: string;
  readonly lines: string;

  constructor(host: string, lines: string) {
    this.host = host;
    this.lines = lines;
  }
}

function ownLines(exchange: Exchange): string {
  const { clientMemo, host } = exchange;
  if (clientMemo instanceof OwnLines && clientMemo.host === host) return clientMemo.lines;
  const lines = flatText(ownLinesOf(exchange));
  exchange.clientMemo = new OwnLines(host, lines);
  return lines;
}

function ownLinesOf({ clientAddress, host }: Exchange): string {
  return `x-forwarded-for: ${clientAddress}\r\nx-forwarded-host: ${host}\r\nx-forwarded-proto: http\r\nforwarded: ${node(clientAddress)};host=${quoted(host)};proto=http\r\n`;
}

function addedLines(exchange: Exchange): string {
  const { clientAddress, host } = exchange;
  const before = exchange.headerJoined("x-forwarded-for");
  const given = exchange.headerJoined("forwarded");
  const proto = exchange.header("x-forwarded-proto");
  const secure = proto === "https" ? "https" : "http";
  const chain = `x-forwarded-for: ${before ? `${before}, ` : ""}${clientAddress}\r\n`;
  const names = `x-forwarded-host: ${exchange.header("x-forwarded-host") ?? host}\r\nx-forwarded-proto: ${secure}\r\n`;
  return `${chain}${names}forwarded: ${given ? `${given}, ` : ""}${node(clientAddress)};host=${quoted(host)};proto=${secure}\r\n`;
}

const node = (address: string) => (address.includes(":") ? `for="[${address}]"` : `for=${address}`);
const quoted = (host: string) => (/^[a-z0-9._-]+$/.test(host) ? host : `"${host}"`);
