import { PlatformError } from "../../api/errors.ts";
import { COOKIE_VERSION, HEADER_VERSION } from "../../api/names.ts";
import type { FunctionReference } from "../../api/kinds/references.ts";
import { type AliasTable, chooseOfAlias } from "./alias-table.ts";
import type { FunctionSlot, FunctionTable } from "./function-table.ts";
import type { Exchange } from "./http/types.ts";
import { Split } from "./split.ts";
import { cookieValue, type StickyKey } from "./sticky-key.ts";

/** Picks the slot of a request, or says why there is none. */
export type Chooser = (exchange: Exchange) => FunctionSlot | PlatformError;

/** Where the requests of a trigger go. */
export interface Destination {
  /** The one slot; null when `choose` has to be asked. */
  readonly slot: FunctionSlot | null;
  readonly choose: Chooser | null;
  /** Gives back what was joined for it. */
  readonly leave: () => void;
}

export interface DestinationDeps {
  readonly functions: Pick<FunctionTable, "join" | "leave" | "version">;
  readonly aliases: Pick<AliasTable, "join" | "leave">;
}

export interface DestinationFacts {
  readonly namespace: string;
  readonly reference: FunctionReference;
  readonly sticky: StickyKey | null;
  /** Testers may name the version that answers them. */
  readonly preview: boolean;
  readonly onProblem: (message: string) => void;
}

/** Resolves a function reference once; what the names in it lead to may change later. */
export function destinationOf(deps: DestinationDeps, facts: DestinationFacts): Destination {
  const plain = plainDestination(deps, facts);
  if (!facts.preview) return plain;
  const { slot, choose, leave } = plain;
  const { namespace, reference } = facts;
  const names =
    reference.type === "function-weights" ? Object.keys(reference.functionweights ?? {}) : [reference.name];
  return {
    slot: null,
    leave,
    choose: (exchange) => {
      const version = askedVersion(exchange);
      if (version === undefined) return slot ?? choose?.(exchange) ?? nowhere();
      for (const name of names) {
        const found = deps.functions.version(namespace, name, version);
        if (found) return found;
      }
      return new PlatformError(
        "version_not_found",
        `Version ${JSON.stringify(version)} of function "${namespace}/${names.join('" or "')}" does not exist`,
      );
    },
  };
}

/** The version that a tester's request names. */
const askedVersion = (exchange: Exchange): string | undefined =>
  exchange.header(HEADER_VERSION) || cookieValue(exchange.headerJoined("cookie"), COOKIE_VERSION);

const nowhere = (): PlatformError => new PlatformError("function_not_found");

function plainDestination(deps: DestinationDeps, facts: DestinationFacts): Destination {
  const { functions, aliases } = deps;
  const { namespace, reference, sticky } = facts;
  if (reference.type === "workflow") return { slot: null, choose: nowhere, leave: () => undefined };
  if (reference.type === "function-weights") return weightedDestination(deps, facts);
  if (reference.alias) {
    const alias = aliases.join(namespace, reference.name, reference.alias);
    return {
      slot: null,
      choose: (exchange) => chooseOfAlias(alias, exchange, sticky),
      leave: () => aliases.leave(alias),
    };
  }
  const slot = functions.join(namespace, reference.name, reference.version);
  return { slot, choose: null, leave: () => functions.leave(slot) };
}

function weightedDestination(
  { functions }: DestinationDeps,
  { namespace, reference, sticky, onProblem }: DestinationFacts,
): Destination {
  // In the order of names, not in the one that they were written in: all routers must agree.
  const weights = Object.entries(reference.functionweights ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const choices = weights.map(([name, weight]) => ({ slot: functions.join(namespace, name), weight }));
  const leave = () => {
    for (const { slot } of choices) functions.leave(slot);
  };
  const positive = choices.filter(({ weight }) => weight > 0);
  const [first] = positive;
  if (!first) {
    const error = new PlatformError(
      "function_not_found",
      "Cannot split requests: functionref.functionweights names no function with a weight above 0",
    );
    return { slot: null, choose: () => error, leave };
  }
  if (positive.length === 1) return { slot: first.slot, choose: null, leave };
  const split = new Split(positive, {
    onAbsent: ({ key }) => onProblem(`"${key}" serves nothing: its share of the requests goes to the others`),
  });
  return {
    slot: null,
    choose: (exchange) => {
      const key = sticky?.(exchange);
      return key === undefined ? split.next() : split.ofKey(key);
    },
    leave,
  };
}
