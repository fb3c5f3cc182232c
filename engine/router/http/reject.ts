import type { CoreErrorCode } from "./types.ts";

/** Why the core refuses something by itself: the reply's status, its stable code and a sentence for people. */
export interface Reject {
  readonly status: number;
  readonly code: CoreErrorCode;
  readonly message: string;
}

const bad = (message: string): Reject => ({ status: 400, code: "bad_request", message });

/** Everything the core refuses, by name. */
export const REJECTS = {
  method: bad("Method is not a token of upper-case letters, digits, - and _ of at most 32 characters"),
  target: bad("Request target contains a character that is not allowed"),
  targetForm: bad('Request target must start with "/" or "http://", or be "*" for OPTIONS'),
  requestLine: bad("Request line must be: method, one space, target, one space, HTTP/1.1, CRLF"),
  version: {
    status: 505,
    code: "version_not_supported",
    message: "Only HTTP/1.1 and HTTP/1.0 are spoken here",
  },
  lineEnd: bad("Lines must end in CRLF"),
  headerName: bad("Header name contains a character that is not allowed"),
  headerValue: bad("Header value contains a control character"),
  folded: bad("Header lines must not be folded"),
  hostMissing: bad("Host header is missing"),
  hostTwice: bad("Host header occurs more than once"),
  hostInvalid: bad("Host must be a name or address with an optional port"),
  hostMismatch: bad("Host differs from the authority of the request target"),
  lengthInvalid: bad("Content-Length must be one decimal number"),
  lengthAndEncoding: bad("Content-Length and Transfer-Encoding exclude each other"),
  encodingInOld: bad("Transfer-Encoding is not known in HTTP/1.0"),
  encodingTwice: bad('Transfer-Encoding must be "chunked" alone'),
  encodingUnknown: {
    status: 501,
    code: "not_implemented",
    message: 'Transfer-Encoding must be "chunked" alone',
  },
  connect: { status: 501, code: "not_implemented", message: "CONNECT is not served here" },
  expectation: { status: 417, code: "expectation_failed", message: 'Expect must be "100-continue"' },
  path: bad("Path contains a dot segment, a backslash, a NUL or an invalid percent-encoding"),
  absolute: bad("Absolute request target must be http:// or https:// with a valid authority"),
  chunk: bad("Chunked body is malformed"),
  headerTooLarge: {
    status: 431,
    code: "header_too_large",
    message: "Request head has too many bytes or headers",
  },
  targetTooLong: { status: 414, code: "target_too_long", message: "Request target is too long" },
  headTimeout: { status: 408, code: "request_timeout", message: "Request head did not arrive in time" },
  bodyTimeout: { status: 408, code: "request_timeout", message: "Request body did not arrive in time" },
  shuttingDown: { status: 503, code: "shutting_down", message: "This router is shutting down" },
  statusLine: { status: 502, code: "bad_gateway", message: "Status line of the upstream is malformed" },
} as const satisfies Record<string, Reject>;
