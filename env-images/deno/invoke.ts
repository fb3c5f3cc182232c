import type { Exchange } from "./exchange.ts";
import { FunctionContext, type FunctionFacts } from "./function-context.ts";
import type { Handler } from "./load.ts";
import { ContextResponse, contextReply, contextRequest } from "./node-context.ts";
import { nodeInvoke } from "./node-server.ts";
import { uncurryThis } from "./primordials.ts";

/** Calls the function for one request; returns or resolves with what it returned. */
export type Invoke = (request: Request, exchange: Exchange, info: Deno.ServeHandlerInfo) => unknown;

const apply: (call: (...args: never[]) => unknown, self: unknown, args: readonly unknown[]) => unknown =
  Reflect.apply;

function contextInvoke(call: (...args: never[]) => unknown): Invoke {
  return async (request) => {
    const response = new ContextResponse();
    const context = { request: await contextRequest(request), response };
    const value = await apply(call, undefined, [context]);
    if (value === undefined && response.headersSent) return response.finished;
    const { status, body, headers } = Object(value);
    return status === undefined ? value : contextReply(status, body, headers);
  };
}

function callbackInvoke(call: (...args: never[]) => unknown): Invoke {
  return async (request) => {
    const response = new ContextResponse();
    const context = { request: await contextRequest(request), response };
    const called = new Promise<Response>((resolve, reject) => {
      const callback = (status: unknown, body: unknown, headers: unknown): void => {
        // The reference system ignores a call without a status.
        if (!status) return;
        try {
          resolve(contextReply(status, body, headers));
        } catch (error) {
          reject(error);
        }
      };
      // A handler that is asynchronous as well must not fail unseen.
      Promise.resolve(apply(call, undefined, [context, callback])).catch(reject);
    });
    return Promise.race([called, response.finished]);
  };
}

/** Decides once, when the code is loaded, how each request is given to the handler. */
export function makeInvoke(
  handler: Handler,
  facts: FunctionFacts,
  socketPath: string,
  backgroundFailed: (reason: unknown) => void,
): Invoke {
  const call: (self: unknown, ...args: unknown[]) => unknown = uncurryThis(
    handler.call as (...args: unknown[]) => unknown,
  );
  switch (handler.form) {
    case "fetch": {
      const { self } = handler;
      return (request, exchange) =>
        call(self, request, facts.env, new FunctionContext(exchange, facts, backgroundFailed));
    }
    case "serve":
      return (request, _exchange, info) => call(undefined, request, info);
    case "request":
      return (request, exchange) =>
        call(undefined, request, new FunctionContext(exchange, facts, backgroundFailed));
    case "context":
      return contextInvoke(handler.call);
    case "callback":
      return callbackInvoke(handler.call);
    case "node":
      return nodeInvoke(handler.call, socketPath);
  }
}
