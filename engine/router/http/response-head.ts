import {
  CONNECTION,
  CONTENT_LENGTH,
  findHeader,
  type HeadParser,
  headerValue,
  KEEP_ALIVE,
  TRANSFER_ENCODING,
} from "./head-parser.ts";
import { connectionOptions, contentLength } from "./request-head.ts";

/** Body until the connection's end. */
export const UNTIL_CLOSE = -2;
export const CHUNKED = -1;

/** What a response's head says about its framing. */
export interface ResponseFacts {
  /** Bytes that follow, CHUNKED or UNTIL_CLOSE. */
  framing: number;
  /** Content-Length as declared, -1 for none: it also stands in bodiless responses. */
  declaredLength: number;
  keepAlive: boolean;
  /** How long the upstream keeps an idle connection, in milliseconds; 0 when it does not say. */
  keepAliveMs: number;
  /** Lower-case names that `Connection` lists; undefined for none. */
  named: ReadonlySet<string> | undefined;
}

/**
 * Judges the head of a final response.
 * @param bodiless the request was HEAD
 * @returns why it is not valid, or undefined when `facts` has been filled
 */
export function interpretResponse(
  parser: HeadParser,
  head: string,
  bodiless: boolean,
  facts: ResponseFacts,
): string | undefined {
  const lengthIndex = parser.first[CONTENT_LENGTH]! - 1;
  const encodingIndex = parser.first[TRANSFER_ENCODING]! - 1;
  facts.declaredLength = -1;
  facts.framing = UNTIL_CLOSE;
  if (lengthIndex >= 0) {
    if ((parser.repeated & (1 << CONTENT_LENGTH)) !== 0) return "Content-Length occurs more than once";
    facts.declaredLength = contentLength(headerValue(parser, head, lengthIndex));
    if (facts.declaredLength < 0) return "Content-Length is not one decimal number";
    facts.framing = facts.declaredLength;
  }
  if (encodingIndex >= 0) {
    if (lengthIndex >= 0) return "Content-Length and Transfer-Encoding exclude each other";
    const repeated = (parser.repeated & (1 << TRANSFER_ENCODING)) !== 0;
    if (
      repeated ||
      headerValue(parser, head, encodingIndex).toLowerCase() !== "chunked" ||
      parser.minorVersion === 0
    ) {
      return 'Transfer-Encoding must be "chunked" alone, in HTTP/1.1';
    }
    facts.framing = CHUNKED;
  }
  const { status } = parser;
  if (bodiless || status === 204 || status === 304 || status < 200) facts.framing = 0;
  interpretKeepAlive(parser, head, facts);
  return undefined;
}

function interpretKeepAlive(parser: HeadParser, head: string, facts: ResponseFacts): void {
  facts.keepAlive = parser.minorVersion === 1;
  facts.keepAliveMs = 0;
  facts.named = undefined;
  if (parser.first[CONNECTION] !== 0) {
    const options = connectionOptions(parser, head);
    facts.keepAlive = !options.close && (facts.keepAlive || options.keepAlive);
    facts.named = options.named;
  }
  if (facts.framing === UNTIL_CLOSE) facts.keepAlive = false;
  if (parser.first[KEEP_ALIVE] !== 0) {
    const seconds = /timeout=(\d{1,6})/.exec(
      headerValue(parser, head, findHeader(parser, head, "keep-alive", 0)),
    );
    if (seconds !== null) facts.keepAliveMs = Number(seconds[1]) * 1000;
  }
}
