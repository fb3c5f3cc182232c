import { type AliasTarget, aliasTargets } from "../../api/releases/alias.ts";
import type { FunctionAlias } from "../../api/kinds/index.ts";
import { PlatformError } from "../../api/errors.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { FunctionSlot, FunctionTable } from "./function-table.ts";
import type { Exchange } from "./http/types.ts";
import { Split } from "./split.ts";
import { type StickyKey, stickyKeyOf } from "./sticky-key.ts";

/*
 * Where each FunctionAlias leads. Invariants:
 * 1. An alias has one slot whose object never changes: routes point to it.
 * 2. A version that cannot serve yet gets nothing while the version before can: an alias that is switched too early keeps what it has.
 * 3. Requests are never sent to a version that does not exist.
 */

/** What the router reads of a FunctionAlias. */
export type RoutedAlias = KubeObject & Pick<FunctionAlias, "spec" | "status">;

export interface AliasSlot {
  /** `namespace/function:alias`. */
  readonly key: string;
  readonly namespace: string;
  readonly functionName: string;
  readonly alias: string;
  object: RoutedAlias | undefined;
  /** The one slot, when there is no split. */
  slot: FunctionSlot | undefined;
  split: Split | undefined;
  sticky: StickyKey | null;
  /** What `slot` and `split` were made of, and the slots that were joined for it. */
  targets: readonly AliasTarget[];
  joined: readonly FunctionSlot[];
  routes: number;
}

export interface AliasTableDeps {
  readonly functions: Pick<FunctionTable, "join" | "leave" | "versionState">;
  readonly clientAddress: (exchange: Exchange) => string;
  /** Told what is odd about an alias. */
  readonly onProblem: (alias: string, message: string) => void;
}

export class AliasTable {
  readonly #deps: AliasTableDeps;
  readonly #slots = new Map<string, AliasSlot>();
  /** By `namespace/alias`. */
  readonly #objects = new Map<string, AliasSlot>();
  /** Those that exist, by `namespace/function`. */
  readonly #ofFunction = new Map<string, Set<AliasSlot>>();

  constructor(deps: AliasTableDeps) {
    this.#deps = deps;
  }

  /** Number of aliases. */
  get size(): number {
    return this.#objects.size;
  }

  /** An alias that exists. */
  get(namespace: string, functionName: string, alias: string): AliasSlot | undefined {
    const slot = this.#objects.get(`${namespace}/${alias}`);
    return slot?.functionName === functionName ? slot : undefined;
  }

  /** The slot of an alias, existing or not, for a route that points to it. To be given back with `leave`. */
  join(namespace: string, functionName: string, alias: string): AliasSlot {
    const slot = this.#slot(namespace, functionName, alias);
    slot.routes += 1;
    return slot;
  }

  leave(slot: AliasSlot): void {
    slot.routes -= 1;
    this.#forgetIfUnused(slot);
  }

  /** Takes over a FunctionAlias as it is now. */
  apply(object: RoutedAlias): void {
    const { namespace = "default", name, annotations } = object.metadata;
    const key = `${namespace}/${name}`;
    const before = this.#objects.get(key);
    if (before && before.functionName !== object.spec.functionName) this.remove(key);
    const slot = this.#slot(namespace, object.spec.functionName, name);
    this.#objects.set(key, slot);
    const owner = `${namespace}/${slot.functionName}`;
    this.#ofFunction.set(owner, (this.#ofFunction.get(owner) ?? new Set()).add(slot));
    slot.object = object;
    slot.sticky = stickyKeyOf(annotations, this.#deps.clientAddress, (message) =>
      this.#deps.onProblem(key, message),
    );
    this.#resolve(slot);
  }

  /** @param key `namespace/name` of the FunctionAlias */
  remove(key: string): void {
    const slot = this.#objects.get(key);
    if (!slot) return;
    this.#objects.delete(key);
    const owner = `${slot.namespace}/${slot.functionName}`;
    const siblings = this.#ofFunction.get(owner);
    siblings?.delete(slot);
    if (siblings?.size === 0) this.#ofFunction.delete(owner);
    slot.object = undefined;
    this.#lead(slot, []);
    this.#forgetIfUnused(slot);
  }

  /** A version of a function came, went, or began or ceased to serve. */
  versionsChanged(namespace: string, functionName: string): void {
    for (const slot of this.#ofFunction.get(`${namespace}/${functionName}`) ?? []) this.#resolve(slot);
  }

  #resolve(slot: AliasSlot): void {
    const { object, namespace, functionName } = slot;
    if (!object) return;
    const state = (version: string) => this.#deps.functions.versionState(namespace, functionName, version);
    const serves = (version: string): boolean => state(version) === "serving";
    const wanted = object.spec.version || object.status?.resolvedVersion;
    const kept = slot.targets.filter(({ version }) => serves(version));
    if (wanted && !serves(wanted) && kept.length > 0 && state(wanted) !== undefined)
      return this.#lead(slot, kept);
    const targets = aliasTargets(object, serves);
    this.#lead(
      slot,
      targets.length > 0 ? targets : aliasTargets(object, (version) => state(version) !== undefined),
    );
  }

  /** Points the alias to its targets; nothing happens, and a split under way goes on, when they are what they were. */
  #lead(slot: AliasSlot, targets: readonly AliasTarget[]): void {
    const same =
      targets.length === slot.targets.length &&
      targets.every(({ version, weight }, i) => {
        const before = slot.targets[i];
        return before?.version === version && before.weight === weight;
      });
    if (same) return;
    const { functions, onProblem } = this.#deps;
    const before = slot.joined;
    const { namespace, functionName, key } = slot;
    slot.targets = targets;
    slot.joined = targets.map(({ version }) => functions.join(namespace, functionName, version));
    const choices = targets.flatMap(({ weight }, i) => {
      const joined = slot.joined[i];
      return joined && weight > 0 ? [{ slot: joined, weight }] : [];
    });
    slot.slot = choices[0]?.slot ?? slot.joined[0];
    slot.split =
      choices.length < 2
        ? undefined
        : new Split(choices, {
            onAbsent: (absent) =>
              onProblem(key, `"${absent.key}" serves nothing: its share of the requests goes to the others`),
          });
    for (const left of before) functions.leave(left);
  }

  #slot(namespace: string, functionName: string, alias: string): AliasSlot {
    const key = `${namespace}/${functionName}:${alias}`;
    let slot = this.#slots.get(key);
    if (!slot) {
      slot = {
        key,
        namespace,
        functionName,
        alias,
        object: undefined,
        slot: undefined,
        split: undefined,
        sticky: null,
        targets: [],
        joined: [],
        routes: 0,
      };
      this.#slots.set(key, slot);
    }
    return slot;
  }

  #forgetIfUnused(slot: AliasSlot): void {
    if (slot.routes === 0 && slot.object === undefined) this.#slots.delete(slot.key);
  }
}

/**
 * The slot that a request to an alias goes to.
 * @param sticky the route's own rule, which wins over the alias'
 */
export function chooseOfAlias(
  alias: AliasSlot,
  exchange: Exchange,
  sticky: StickyKey | null,
): FunctionSlot | PlatformError {
  const { split, slot } = alias;
  if (split === undefined) return slot ?? whyNoAlias(alias);
  const key = (sticky ?? alias.sticky)?.(exchange);
  return key === undefined ? split.next() : split.ofKey(key);
}

function whyNoAlias({ key, functionName, alias, namespace, object }: AliasSlot): PlatformError {
  if (object === undefined)
    return new PlatformError(
      "version_not_found",
      `Alias "${alias}" of function "${namespace}/${functionName}" does not exist`,
    );
  return new PlatformError(
    "version_not_found",
    `Alias "${key}" names a version that does not exist: ${object.spec.version ?? object.spec.packageDigest ?? "none"}`,
  );
}
