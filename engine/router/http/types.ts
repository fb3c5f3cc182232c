/**
 * The interface between the router's HTTP/1.1 core (this folder) and the rest of `engine/router`.
 *
 * Entry points, one per file:
 *   `createListener(handler, options)`   listener.ts       accepts clients, parses, makes one `Exchange` per request
 *   `createUpstreams(options)`           upstream.ts       keep-alive pools towards pods, shared by all listeners
 *   `createRouteTable<P>()`              routes.ts         which route a request belongs to
 *   `parseTemplate(path)`                route-template.ts validates a route's path, for conditions on an HTTPTrigger
 *   `compileHeaderFilter(rule)`          header-filter.ts  which headers do not pass
 *
 * Header blocks are strings of complete lines, `name: value\r\n…`, latin1, written as they are: whoever builds one must have
 * checked every value that came from outside with `isHeaderValue` (header-filter.ts). Precompute them per route or revision.
 *
 * Invariants the core keeps:
 *  1. `onRequest` runs once per well-formed request; malformed ones are answered by the core itself through `errorReply`.
 *  2. After `onRequest`, exactly one `onEnd` follows, whatever happens; nothing is called for that exchange after it.
 *  3. Between the two the exchange is in one state: `open` (yours: reply, relay, readBody or keep it waiting), `relaying`
 *     (the core's), `replying` (a response head has been written; no way back) or `ended`.
 *  4. A waiting exchange costs no timer and no polling; its deadline is an integer that one sweep compares.
 *  5. A request is never sent twice by the core itself; every repetition is the handler's decision in `onRefused` or `onFailed`.
 */

/** The rest of the router. One object per listener; every hook is called synchronously and must not throw. */
export interface Handler {
  /** The head of a request is complete and valid; its body may still be arriving (it is not read beyond a small window). */
  onRequest(exchange: Exchange): void;
  /**
   * The upstream refused before running anything (its response carried the refusal header). State is `open` again; when
   * `exchange.canResend` the request may be relayed to another address, otherwise it must be replied to.
   */
  onRefused(exchange: Exchange, refusal: Refusal): void;
  /** The relay failed before any byte of a response reached the client. State is `open` again. May be called before `relay` returns. */
  onFailed(exchange: Exchange, failure: RelayFailure): void;
  /**
   * The head of the upstream's final response (or 101) is valid and about to be passed on.
   * @returns header lines to add to it, `""` for none.
   */
  onResponse(exchange: Exchange, response: ResponseHead): string;
  /** The deadline passed while the exchange was `open`: reply now (what for, the handler knows). */
  onDeadline(exchange: Exchange): void;
  /** The exchange is over; read `outcome`, `status`, counters and timing. `header()` still works during this call, not later. */
  onEnd(exchange: Exchange): void;
}

export type ExchangeState = "open" | "relaying" | "replying" | "ended";

/**
 * How an exchange ended.
 * `replied` by `reply`; `relayed` whole; `client-gone` before the response was whole; `upstream-broken` the response broke off
 * after its head was passed on; `timeout` a deadline passed after that; `tunnel` a WebSocket closed; `rejected` the request's body was
 * malformed, too slow or cut off (the core has answered when it still could).
 */
export type Outcome =
  | "replied"
  | "relayed"
  | "client-gone"
  | "upstream-broken"
  | "timeout"
  | "tunnel"
  | "rejected";

/** One request in flight. Allocated per request; safe to keep until `onEnd`. */
export interface Exchange {
  readonly state: ExchangeState;
  /** Yours: set it in `onRequest`, read it in the other hooks. */
  context: unknown;
  /** Yours too, and the same for all exchanges of one client connection: what need not be worked out again for each. */
  clientMemo: unknown;
  /** Number of this exchange, rising within the process. */
  readonly id: number;

  /** As sent, e.g. `GET`; any valid token up to 32 characters. */
  readonly method: string;
  /** Path, normalised (see `normalizePath` in target.ts), still percent-encoded; match and forward this. `*` for `OPTIONS *`. */
  readonly path: string;
  /** With its `?`, or `""`. */
  readonly query: string;
  /** `Host` (or the authority of an absolute-form target): lower case, with its port if it has one. `""` only in HTTP/1.0. */
  readonly host: string;
  /** `host` without port. */
  readonly hostname: string;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minorVersion: 0 | 1;
  /** Peer address of the connection; IPv4-mapped ones as IPv4. */
  readonly clientAddress: string;
  readonly clientPort: number;
  /** True when the client asked for a WebSocket upgrade in the right form; no other protocol is ever upgraded to. */
  readonly upgrade: boolean;
  /** Declared body length in bytes, 0 for none, -1 for chunked. */
  readonly bodyLength: number;

  /** First value of a header by lower-case name, trimmed, latin1; undefined when absent. Compares lengths first; builds nothing. */
  header(name: string): string | undefined;
  /** All values of a header, joined with `, ` (`; ` for cookie); undefined when absent. */
  headerJoined(name: string): string | undefined;
  /** Calls back for every header in order, names as sent. Not for the hot path. */
  eachHeader(visit: (name: string, value: string) => void): void;

  /**
   * The whole exchange must be over in `timeoutMs` from now (0 = no limit). While `open` its passing calls `onDeadline`; while
   * `relaying`, `onFailed` with kind `deadline`; while `replying`, the connection is cut and the outcome is `timeout`.
   * Accurate to about one sweep (50 ms). May be set again at any time.
   */
  setDeadline(timeoutMs: number): void;
  /** Milliseconds left until the deadline, at least 0; Infinity without one. */
  remainingMs(): number;

  /**
   * A local reply. The core adds Date, Content-Length and Connection, omits the body for HEAD/204/304, and takes care of what is left of
   * the request's body (drains a small rest, closes the connection after a larger one). Only in state `open`.
   * @param headers header block without framing headers
   */
  reply(status: number, headers: string, body?: string | Uint8Array): void;

  /**
   * Sends the request to a pod and its response back. Only in state `open`.
   * @param upstream from `Upstreams.at`
   * @param target request target to send, e.g. `exchange.path + exchange.query`
   * @param headers header block to add (after the client's own headers that pass `plan.requestFilter`)
   */
  relay(upstream: Upstream, target: string, headers: string, plan: RelayPlan): void;

  /**
   * True when the whole request can be sent (again): it has no body, or all bytes of it that were received are still held. Bodies up to
   * `limits.retainBodyBytes` always are; larger ones only until the first byte beyond that was sent (see `RelayPlan.expectContinue`).
   */
  readonly canResend: boolean;

  /**
   * Collects the whole request body. Only in state `open`, at most once; afterwards `reply` and `relay` (which sends the collected
   * body, as often as wanted) still work.
   * @throws BodyError (rejects) `too-large` (nothing was answered yet), `client-gone` or `malformed` (the core has dealt with it)
   */
  readBody(limitBytes: number): Promise<Buffer>;

  /**
   * From the next relay on, a response with a status below 400 is held back: when it is whole, the exchange is `open` again and `whole` is
   * called with it, to reply with it (or not). Longer ones than `limitBytes`, and other statuses, go on to the client as ever. Only in state `open`.
   */
  holdResponse(limitBytes: number, whole: (response: HeldResponse) => void): void;

  /** Ends the exchange by cutting the connection, e.g. on shutdown. */
  abort(): void;

  // For metrics, valid during and after onEnd.
  readonly outcome: Outcome;
  /** Status that went to the client; 0 when none did. */
  readonly status: number;
  /** Request body bytes received and response body bytes handed to the client's socket (tunnels: both directions). */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** `performance.now()` values; 0 where that point was not reached. */
  readonly startedAt: number;
  readonly endedAt: number;
  /** Whether the head of a pod's response came and was passed on. */
  readonly responded: boolean;
  /** How often `relay` was called. */
  readonly attempts: number;
}

/** Fixed per route (or globally): build once, never per request. Times in milliseconds, 0 = no limit. */
export interface RelayPlan {
  /** Client headers that do not pass, beyond hop-by-hop and framing ones, which never do. */
  readonly requestFilter: HeaderFilter;
  /** Upstream headers that do not pass, beyond hop-by-hop and framing ones. */
  readonly responseFilter: HeaderFilter;
  /** Name of the response header that marks a refusal; `""` when this upstream cannot refuse (foreign image). */
  readonly refusalHeader: string;
  /**
   * For bodies that cannot be held whole (over `retainBodyBytes`): send `Expect: 100-continue` and wait for the upstream's word (at
   * most `continueTimeoutMs`, default 1000) before the body, so that a refusal costs nothing and can go to another pod.
   */
  readonly expectContinue: boolean;
  /** TCP connect plus wait for a free connection of the pool. */
  readonly connectTimeoutMs: number;
  /** From the request's last byte (or the upload's last progress) to the response head. */
  readonly responseTimeoutMs: number;
  /** Longest silence within a response body or tunnel, and longest time that a client may take to read nothing. */
  readonly idleTimeoutMs: number;
  /** Largest request body passed on; beyond it `onFailed` with kind `body-too-large`. */
  readonly maxBodyBytes: number;
  /** Whether WebSocket upgrades are passed on; otherwise such a request goes as an ordinary GET. */
  readonly allowUpgrade: boolean;
}

/** What an upstream said when it refused. */
export interface Refusal {
  readonly status: number;
  /** Value of the refusal header. */
  readonly reason: string;
  /** Its Retry-After header, if any. */
  readonly retryAfter: string | undefined;
}

/**
 * `connect` refused, unreachable or reset while connecting; `connect-timeout`; `queue-full`, `queue-timeout` no free connection;
 * `closed` the address was given up (`Upstream.close`) before anything was sent; `reset` the connection broke before a response head;
 * `response-timeout`; `bad-response` the response is not valid HTTP (or larger than its limits); `deadline` the exchange's own;
 * `body-too-large` the request body passed `maxBodyBytes`.
 */
export type RelayFailureKind =
  | "connect"
  | "connect-timeout"
  | "queue-full"
  | "queue-timeout"
  | "closed"
  | "reset"
  | "response-timeout"
  | "bad-response"
  | "deadline"
  | "body-too-large";

export interface RelayFailure {
  readonly kind: RelayFailureKind;
  /** For a log line or a debug reply, e.g. `connect ECONNREFUSED 127.64.0.2:8888`. */
  readonly message: string;
  readonly upstream: Upstream;
  /** True when any byte of the request may have reached the upstream's process. */
  readonly sent: boolean;
  /** True when the connection had served a request before (a reset may only mean that it was idle too long). */
  readonly reused: boolean;
  /**
   * True when repeating can do no harm and is possible: nothing was sent, or a reused connection broke before any byte of a response
   * and the method is safe to repeat (GET, HEAD, OPTIONS, TRACE, PUT, DELETE); and `canResend`.
   */
  readonly safeToRepeat: boolean;
}

/** The upstream's response head, valid only during `onResponse`. */
export interface ResponseHead {
  readonly status: number;
  /** First value of a header by lower-case name. */
  header(name: string): string | undefined;
  /** -1 when chunked or until close. */
  readonly bodyLength: number;
}

/** One address of a pod with its keep-alive pool. The same object for the same host and port until closed. */
export interface Upstream {
  readonly host: string;
  readonly port: number;
  /** Yours, e.g. the endpoint it belongs to. */
  context: unknown;
  /** Exchanges relayed to it right now, and those that wait for one of its connections. */
  readonly active: number;
  readonly waiting: number;
  /** Idle connections are closed now, waiting exchanges fail (`closed`), running ones finish. Forgotten by `Upstreams`. */
  close(): void;
}

export interface Upstreams {
  /** Gets or makes the upstream of an address (IPv4 or IPv6 literal; names are not resolved here). */
  at(host: string, port: number): Upstream;
  readonly counters: Readonly<UpstreamCounters>;
  /** Closes all. */
  close(): void;
}

export interface UpstreamOptions {
  /** Most connections per address (default 1024). */
  readonly maxConnections?: number;
  /** Most exchanges that wait for a connection of one address (default 1024). */
  readonly maxWaiting?: number;
  /** Idle connections are closed after this (default 30 000), earlier when the upstream's Keep-Alive header says so. */
  readonly idleTimeoutMs?: number;
  /** Limit of a response head (default 65 536) and its header count (default 200). */
  readonly maxHeaderBytes?: number;
  readonly maxHeaders?: number;
  /** How often deadlines are compared (default 50). */
  readonly sweepMs?: number;
}

export interface UpstreamCounters {
  /** Connections made, connections open now, and idle ones among them. */
  connects: number;
  open: number;
  idle: number;
  connectFailures: number;
  /** Requests sent, requests sent on a connection that had served one before. */
  requests: number;
  reused: number;
  resets: number;
  badResponses: number;
  refusals: number;
}

/** Every limit has a default; all times in milliseconds. */
export interface Limits {
  /** Request line and headers together (default 32 768, at most 65 536). 431, or 414 when the target alone is too long. */
  readonly maxHeaderBytes: number;
  readonly maxHeaders: number;
  readonly maxTargetBytes: number;
  /** From the first byte of a head (or the accept) to its end. 408. Default 10 000. */
  readonly headerTimeoutMs: number;
  /** Longest silence within a request body. 408. Default 30 000. */
  readonly bodyIdleTimeoutMs: number;
  /** Between two requests of a connection. Default 120 000. */
  readonly keepAliveTimeoutMs: number;
  /** Longest time that a client may leave a local reply unread. Default 30 000. */
  readonly writeTimeoutMs: number;
  /** Requests per connection, then `Connection: close`. Default 100 000. */
  readonly maxRequestsPerConnection: number;
  readonly maxConnections: number;
  /** Per client address. Further ones are closed at once. Default 0 = no limit. */
  readonly maxConnectionsPerClient: number;
  /** Request bodies up to this are held so that they can be sent again (default 65 536). */
  readonly retainBodyBytes: number;
  /** After an early reply, up to this many bytes of the request's body are still read and thrown away (default 262 144). */
  readonly drainBodyBytes: number;
}

export interface ListenerOptions {
  readonly limits?: Partial<Limits>;
  /** Makes the reply for what the core refuses itself. Called rarely; the core adds framing headers and closes. */
  readonly errorReply?: (
    status: number,
    code: CoreErrorCode,
    message: string,
  ) => { headers: string; body: string };
  readonly upstreams: Upstreams;
  /** How often deadlines are compared (default 50). */
  readonly sweepMs?: number;
}

/** Stable codes of what the core answers itself, with their status. */
export type CoreErrorCode =
  | "bad_request" // 400
  | "request_timeout" // 408
  | "body_too_large" // 413
  | "target_too_long" // 414
  | "expectation_failed" // 417
  | "header_too_large" // 431
  | "not_implemented" // 501
  | "version_not_supported" // 505
  | "bad_gateway" // 502
  | "shutting_down"; // 503

export interface Listener {
  /** @returns the bound port. Several listeners (processes) may share one with `reusePort`. */
  listen(host: string, port: number, options?: { reusePort?: boolean; backlog?: number }): Promise<number>;
  /**
   * From now on each response is the last one of its connection (`Connection: close`), while new connections are still taken: clients that
   * are busy leave by themselves, so that `close` does not end a connection on which a request is just arriving.
   */
  drain(): void;
  /**
   * Stops accepting; idle connections close, exchanges finish with `Connection: close`; after `deadlineMs` what is left is cut.
   * @returns how many exchanges were cut
   */
  close(deadlineMs: number): Promise<number>;
  readonly counters: Readonly<ListenerCounters>;
}

export interface ListenerCounters {
  connectionsAccepted: number;
  connectionsOpen: number;
  /** Closed at once because of a limit. */
  connectionsRefused: number;
  requests: number;
  inFlight: number;
  /** Requests that the core answered itself because they were malformed, too large or too slow. */
  rejected: number;
  /** Malformed paths, framing and so on by code. */
  rejectedByCode: Record<string, number>;
  tunnelsOpen: number;
}

/** A whole response that nobody has got yet. */
export interface HeldResponse {
  readonly status: number;
  /** Header lines as the client is to get them, without those of framing. */
  readonly lines: string;
  readonly body: Buffer;
}

/** Which headers do not pass. Names and prefixes in lower case. */
export interface HeaderRule {
  readonly strip: readonly string[];
  readonly stripPrefixes?: readonly string[];
  /** Pass although a prefix matches. */
  readonly keep?: readonly string[];
}

/** Compiled by `compileHeaderFilter`; opaque. */
export interface HeaderFilter {
  /** Whether a header of this name is stripped. @param name any case */
  strips(name: string): boolean;
}

/** A route as declared. `P` is the router's own per-route context: give it a fixed shape and precompute its header block. */
export interface Route<P> {
  /** Unique, stable across updates, e.g. the trigger's UID. */
  readonly id: string;
  /** Lower-case host name without port; undefined = any host. */
  readonly host: string | undefined;
  /** Upper case; empty = every method. */
  readonly methods: readonly string[];
  /** `/a/b`, `/a/{id}`, `/a/{id:[0-9]+}`, `/v{major}-{minor}/x`, `/files/{rest:.*}` (only a regex that admits `/` spans segments). */
  readonly path: string;
  /** Also everything below `path`, by whole segments (`/a` serves `/a`, `/a/`, `/a/b`, not `/ab`). */
  readonly prefix: boolean;
  /** Decides between routes that claim the same: the smaller wins, then the smaller id (e.g. creation time in ms). */
  readonly order: number;
  readonly payload: P;
}

export type RouteMatch<P> =
  | {
      readonly kind: "route";
      readonly route: Route<P>;
      readonly names: readonly string[];
      readonly params: readonly string[];
    }
  /** A route matches but for its method. `allow` is the value for the Allow header. */
  | { readonly kind: "method"; readonly allow: string; readonly routes: readonly Route<P>[] }
  | { readonly kind: "none" };

/**
 * Precedence: a route for this host before any-host routes; exact path before template before prefix; literal segment before
 * pattern before variable before a variable that spans segments; longer prefix before shorter. A request falls through to less specific
 * routes when a more specific one differs by method; only when none takes it is the answer `method`.
 */
export interface RouteTable<P> {
  /** @param path normalised; @param hostname lower case without port. Allocates nothing for routes without variables. */
  match(method: string, hostname: string, path: string): RouteMatch<P>;
  /** Replaces all routes at once. @returns routes that could not be compiled */
  replace(routes: readonly Route<P>[]): RouteProblem[];
  /** Adds or replaces one (by id). @returns undefined, or why it was not taken (the earlier one with that id is gone then). */
  set(route: Route<P>): RouteProblem | undefined;
  remove(id: string): boolean;
  get(id: string): Route<P> | undefined;
  /** Routes that never match because an equal one wins, for conditions on the trigger. */
  conflicts(): RouteConflict[];
  readonly size: number;
}

export interface RouteProblem {
  readonly id: string;
  /** e.g. `Cannot compile path "/a/{id": variable is not closed, expected "}"`. */
  readonly message: string;
}

export interface RouteConflict {
  readonly id: string;
  /** The route that wins. */
  readonly winner: string;
  readonly methods: readonly string[];
}
