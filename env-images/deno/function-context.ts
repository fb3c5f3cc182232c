import type { Exchange } from "./exchange.ts";
import { HEADER_PARAMS_PREFIX } from "../../api/headers.ts";
import { promiseResolve } from "./primordials.ts";

/** Content of secrets or config maps by name and key, as text. */
export type MountedText = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** What is the same for every request of a pod. */
export interface FunctionFacts {
  readonly function: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly revision: string;
  };
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: MountedText;
  readonly configs: MountedText;
}

/** The `ctx` of a handler; its public shape is `Context` of `sdk/index.ts`. */
export class FunctionContext {
  readonly requestId: string;
  readonly waitUntil: (promise: Promise<unknown>) => void;
  readonly #facts: FunctionFacts;
  readonly #exchange: Exchange;
  #params: Readonly<Record<string, string>> | null = null;

  constructor(exchange: Exchange, facts: FunctionFacts, failed: (reason: unknown) => void) {
    this.requestId = exchange.requestId;
    this.#exchange = exchange;
    this.#facts = facts;
    this.waitUntil = (promise) => exchange.waitFor(promiseResolve(promise), failed);
  }

  get function(): FunctionFacts["function"] {
    return this.#facts.function;
  }
  get env(): FunctionFacts["env"] {
    return this.#facts.env;
  }
  get secrets(): MountedText {
    return this.#facts.secrets;
  }
  get configs(): MountedText {
    return this.#facts.configs;
  }
  get signal(): AbortSignal {
    return this.#exchange.signal;
  }

  /** Variables of the route's path, by their lower-case names. */
  get params(): Readonly<Record<string, string>> {
    if (this.#params === null) {
      const params: Record<string, string> = {};
      this.#exchange.request.headers.forEach((value, name) => {
        if (name.startsWith(HEADER_PARAMS_PREFIX)) params[name.slice(HEADER_PARAMS_PREFIX.length)] = value;
      });
      this.#params = params;
    }
    return this.#params;
  }
}
