import { AsyncLocalStorage } from "node:async_hooks";
import type { Exchange } from "./exchange.ts";

type Call = (request: Request, exchange: Exchange, info: Deno.ServeHandlerInfo) => unknown;

/** Tells which request the running code belongs to, through awaits and timers. */
export interface RequestScope {
  run(call: Call, request: Request, exchange: Exchange, info: Deno.ServeHandlerInfo): unknown;
  current(): Exchange | undefined;
}

interface AsyncContextCore {
  getAsyncContext(): object | null | undefined;
  setAsyncContext(context: object | null | undefined): void;
}

function asyncContextCore(): AsyncContextCore | undefined {
  const internal: unknown = Reflect.get(Deno, Reflect.get(Deno, "internal"));
  const core: unknown = Reflect.get(Object(internal), "core");
  const { getAsyncContext, setAsyncContext } = Object(core);
  return typeof getAsyncContext === "function" && typeof setAsyncContext === "function"
    ? { getAsyncContext, setAsyncContext }
    : undefined;
}

/**
 * A scope on Deno's async context itself, where this version of Deno shows it; else on AsyncLocalStorage. The latter keeps each value in a
 * WeakMap, whose entries outlive collections of young objects: that cost more than the rest of a small request.
 */
export function createRequestScope(): RequestScope {
  const core = asyncContextCore();
  if (core === undefined) {
    const storage = new AsyncLocalStorage<Exchange>();
    const run = storage.run.bind(storage);
    return {
      run: (call, request, exchange, info) => run(exchange, () => call(request, exchange, info)),
      current: storage.getStore.bind(storage),
    };
  }
  const { getAsyncContext, setAsyncContext } = core;
  // AsyncLocalStorage copies the properties that it finds, so that ours is seen inside scopes of the function's own.
  const key = Symbol("exchange");
  return {
    run: (call, request, exchange, info) => {
      const before = getAsyncContext();
      setAsyncContext({ __proto__: null, ...before, [key]: exchange });
      try {
        return call(request, exchange, info);
      } finally {
        setAsyncContext(before);
      }
    },
    current: () => {
      const context = getAsyncContext();
      return context === null || context === undefined ? undefined : (context as { [key]?: Exchange })[key];
    },
  };
}
