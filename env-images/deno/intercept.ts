/**
 * The globals that the runtime changes before a function is loaded.
 *
 * 1. `Deno.serve` hands its handler over instead of listening: the pod's server is the only one.
 * 2. `request.signal` also aborts at the deadline.
 * 3. `Deno.upgradeWebSocket` counts the socket as a running request until it closes.
 * 4. `console` writes log lines; uncaught errors and rejections become log lines and do not end the process.
 * 5. The end of the process is never silent: `unload` fires on every way out that JavaScript has.
 */
import type { Exchange } from "./exchange.ts";
import type { Log, LogLevel } from "./log.ts";
import { defineProperty, once, requestSignal, uncurryThis } from "./primordials.ts";
import { withSourcePositions } from "./source-positions.ts";

type ServeHandler = (request: Request, info: Deno.ServeHandlerInfo) => unknown;

/** Returns what it is given, so that a class derived from it adds its private fields to an object of another class. */
class Given {
  constructor(object: object) {
    return object;
  }
}

/** A private field on served requests: out of reach for the function, and cheaper than a WeakMap, whose entries burden every collection. */
class Bound extends Given {
  readonly #exchange: Exchange;
  constructor(request: Request, exchange: Exchange) {
    super(request);
    this.#exchange = exchange;
  }
  static exchangeOf(request: object): Exchange | undefined {
    return #exchange in request ? request.#exchange : undefined;
  }
}
const { exchangeOf } = Bound;

/** Ties the request that a function gets to its exchange. */
export function bindRequest(request: Request, exchange: Exchange): void {
  void new Bound(request, exchange);
}

/** Makes `Deno.serve` give its handler away. Returns what was served, or null. */
export function interceptServe(log: Log): () => ServeHandler | null {
  let served: ServeHandler | null = null;
  const serve = (...args: readonly unknown[]): unknown => {
    const options: Record<string, unknown> = {};
    let handler: unknown;
    for (const arg of args) {
      if (typeof arg === "function") handler = arg;
      else if (typeof arg === "object" && arg !== null) Object.assign(options, arg);
    }
    handler ??= options["handler"] ?? options["fetch"];
    if (typeof handler !== "function") throw new TypeError("Cannot serve: a handler has not been passed");
    if (served === null) served = handler as ServeHandler;
    else log.write("warn", "Deno.serve was called more than once; only the first handler serves");
    const addr = { transport: "tcp", hostname: "0.0.0.0", port: Number(options["port"] ?? 8000) };
    if (typeof options["onListen"] === "function") options["onListen"](addr);
    let stop = (): void => {};
    const finished = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const shutdown = (): Promise<void> => {
      stop();
      return finished;
    };
    return { addr, finished, shutdown, ref() {}, unref() {}, [Symbol.asyncDispose]: shutdown };
  };
  Object.defineProperty(Deno, "serve", {
    value: serve,
    writable: true,
    configurable: true,
    enumerable: true,
  });
  return () => served;
}

/** Makes `request.signal` of a served request the one that knows the deadline. */
export function interceptSignal(): void {
  defineProperty(Request.prototype, "signal", {
    configurable: true,
    enumerable: true,
    get(this: Request): AbortSignal {
      return exchangeOf(this)?.signal ?? requestSignal(this);
    },
  });
}

/** Counts WebSockets as running requests. `opened` learns of each, to close them at the end. */
export function interceptWebSockets(opened: (socket: WebSocket, closed: () => void) => void): void {
  const native = Deno.upgradeWebSocket;
  const upgrade: typeof Deno.upgradeWebSocket = (request, options) => {
    const result = native(request, options);
    const exchange = exchangeOf(request);
    if (exchange !== undefined) opened(result.socket, exchange.socketOpened());
    return result;
  };
  Object.defineProperty(Deno, "upgradeWebSocket", {
    value: upgrade,
    writable: true,
    configurable: true,
    enumerable: true,
  });
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

type Print = (text: string, level: number) => void;
type ConsoleClass = new (print: Print) => Console;

/** Makes `console` write to the log. The formatting stays Deno's own. */
export function interceptConsole(log: Log): void {
  const internal: unknown = Reflect.get(Deno, Reflect.get(Deno, "internal"));
  const NativeConsole: ConsoleClass = Reflect.get(Object(internal), "Console");
  const trimEnd = uncurryThis(String.prototype.trimEnd);
  const made = new NativeConsole((text, level) =>
    log.write(LEVELS[level] ?? "error", withSourcePositions(trimEnd(text))),
  );
  for (const name of Object.getOwnPropertyNames(made)) {
    const descriptor = Object.getOwnPropertyDescriptor(made, name);
    if (descriptor !== undefined) Object.defineProperty(console, name, descriptor);
  }
}

/**
 * Takes away what reaches past the pod's permissions: Deno's internals, and stores that Deno keeps for the main module, which all
 * pods of a machine share.
 */
export function removeSharedGlobals(): void {
  Reflect.deleteProperty(Deno, Reflect.get(Deno, "internal"));
  for (const name of ["localStorage", "sessionStorage", "caches", "indexedDB"])
    Reflect.deleteProperty(globalThis, name);
}

/** Text and stack of anything that was thrown. Never throws itself. */
export function describeError(error: unknown): {
  readonly message: string;
  readonly stack: string | undefined;
} {
  try {
    if (error instanceof Error) {
      const cause = error.cause === undefined ? "" : `\nCaused by: ${Deno.inspect(error.cause)}`;
      const stack =
        typeof error.stack === "string" ? withSourcePositions(`${error.stack}${cause}`) : undefined;
      return { message: `${error.name}: ${error.message}`, stack };
    }
    return { message: typeof error === "string" ? error : Deno.inspect(error), stack: undefined };
  } catch {
    return { message: "An error that cannot be described", stack: undefined };
  }
}

/**
 * Logs what nobody caught. The process goes on: other requests of the pod are not at fault, and a request that waits for the lost
 * work ends at its deadline.
 */
export function interceptUncaught(log: Log): void {
  const report = (what: string, error: unknown): void => {
    const { message, stack } = describeError(error);
    log.write("error", `${what}: ${message}`, { stack });
  };
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    report("Unhandled rejection", event.reason);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    report("Uncaught error", event.error);
  });
}

/** Logs the end of the process unless `expected` says that the platform asked for it. */
export function interceptExit(log: Log, expected: () => boolean): void {
  once(globalThis, "unload", () => {
    if (expected()) return;
    log.write(
      "error",
      "The function ended its own process (Deno.exit, process.exit or close); the pod is lost",
    );
  });
}
