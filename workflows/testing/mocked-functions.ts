import type { Json } from "../core/json.ts";
import type { CallFunction, CallResult, FunctionCall } from "../worker/call-function.ts";

/** What a function in a test is told of its call. */
export interface MockCall {
  /** From 1. */
  readonly attempt: number;
  /** The same at every attempt of a step. */
  readonly idempotencyKey: string;
  /** Aborts when the answer is not wanted any more. */
  readonly signal: AbortSignal;
  /** For a step that waits for its callback. */
  readonly callbackToken: string | undefined;
}
/** Stands for a function: gives what its answer's JSON is, or throws. */
export type MockFunction = (input: never, call: MockCall) => unknown;

/** A call as it was made. */
export interface MadeCall {
  readonly function: string;
  readonly input: Json;
  readonly attempt: number;
}

/** What a function in a test throws to fail with a class of errors of its own. */
export class StepError extends Error {
  readonly type: string;
  constructor(type: string, message = type, options?: ErrorOptions) {
    super(message, options);
    this.name = "StepError";
    this.type = type;
  }
}

export interface MockedFunctions {
  readonly call: CallFunction;
  readonly calls: readonly MadeCall[];
}

/** @param begin says that a call is under way; gives what ends it */
export function mockedFunctions(
  functions: Readonly<Record<string, MockFunction>>,
  waitsForCallback: (call: FunctionCall) => boolean,
  begin: () => () => void,
  onUnknown: (name: string) => void,
): MockedFunctions {
  const calls: MadeCall[] = [];
  return {
    calls,
    call: async (call, signal) => {
      const { functionName, input, attempt } = call;
      calls.push({ function: functionName, input, attempt });
      const mock = Object.hasOwn(functions, functionName) ? functions[functionName] : undefined;
      if (!mock) {
        onUnknown(functionName);
        return failed("NotMocked", `The test has no function "${functionName}"`);
      }
      const end = begin();
      try {
        const output: unknown = await mock(
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the author says what the function takes
          input as never,
          {
            attempt,
            idempotencyKey: `${call.run.namespace}/${call.run.id}/${call.token}`,
            signal,
            callbackToken: call.callbackToken,
          },
        );
        if (waitsForCallback(call)) return { kind: "accepted" };
        return { kind: "done", output: asJson(output) };
      } catch (error) {
        return failure(error);
      } finally {
        end();
      }
    },
  };
}

const asJson = (value: unknown): Json => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

const failed = (type: string, message: string): CallResult => ({ kind: "failed", error: { type, message } });

function failure(error: unknown): CallResult {
  if (error instanceof StepError) return failed(error.type, error.message);
  return failed("Fission.FunctionError", error instanceof Error ? error.message : String(error));
}
