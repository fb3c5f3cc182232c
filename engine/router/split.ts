import type { FunctionSlot } from "./function-table.ts";

/*
 * Traffic split over functions or versions by weight. Invariants:
 * 1. Without a key the shares are exact: of each sum-of-weights requests (100, as a rule) every choice gets as many as its weight says.
 * 2. With a key the choice depends on key, choices and weights alone, so that all routers agree and nothing is remembered.
 * 3. With a key, a choice whose weight grows while no other's grows loses nobody: who has the new version keeps it.
 * 4. A choice that serves nothing gets no request while another one of weight serves; one of weight 0 gets none ever.
 */

export interface Choice {
  readonly slot: FunctionSlot;
  /** Not negative; what counts is its part of the sum. */
  readonly weight: number;
}

interface WeighedChoice extends Choice {
  /** What makes this choice's hash of a key another one than the others'. */
  readonly salt: number;
  /** Its share was given to others, and that was told. */
  absent: boolean;
}

export interface SplitOptions {
  /** 0 ≤ x < 1. */
  readonly random?: () => number;
  /** Told when a choice's share goes to the others because it serves nothing. */
  readonly onAbsent?: (slot: FunctionSlot) => void;
}

export class Split {
  readonly #choices: readonly WeighedChoice[];
  readonly #deck: Uint16Array;
  readonly #random: () => number;
  readonly #onAbsent: (slot: FunctionSlot) => void;
  #at: number;

  /** @param choices at least one with a weight above 0; the weights are integers */
  constructor(choices: readonly Choice[], options: SplitOptions = {}) {
    this.#random = options.random ?? Math.random;
    this.#onAbsent = options.onAbsent ?? (() => undefined);
    this.#choices = choices
      .filter(({ weight }) => weight > 0)
      .map(({ slot, weight }) => ({ slot, weight, salt: textHash(slot.key), absent: false }));
    this.#deck = Uint16Array.from(this.#choices.flatMap(({ weight }, i) => Array(weight).fill(i)));
    this.#at = this.#deck.length;
  }

  /** The next request's slot. */
  next(): FunctionSlot {
    if (this.#at >= this.#deck.length) this.#shuffle();
    const choice = this.#choices[this.#deck[this.#at] ?? 0];
    this.#at += 1;
    if (choice === undefined) throw new RangeError("Cannot split requests: no choice has a weight");
    if (choice.slot.current !== undefined) {
      choice.absent = false;
      return choice.slot;
    }
    // A random key spreads its share over the others by weight.
    return this.#present(choice, (this.#random() * 2 ** 32) >>> 0).slot;
  }

  /** The slot of who has this key. */
  ofKey(key: string): FunctionSlot {
    const hash = textHash(key);
    const choice = this.#best(hash, false);
    if (choice === undefined) throw new RangeError("Cannot split requests: no choice has a weight");
    if (choice.slot.current === undefined) return this.#present(choice, hash).slot;
    choice.absent = false;
    return choice.slot;
  }

  #present(absent: WeighedChoice, hash: number): WeighedChoice {
    const other = this.#best(hash, true);
    if (other === undefined) return absent;
    if (!absent.absent) {
      absent.absent = true;
      this.#onAbsent(absent.slot);
    }
    return other;
  }

  /**
   * Weighted rendezvous hashing: each choice draws an exponentially distributed number of rate `weight` from the key, the smallest wins.
   * A choice's number falls when its weight grows and changes with nothing else, hence invariant 3.
   */
  #best(hash: number, serving: boolean): WeighedChoice | undefined {
    let best: WeighedChoice | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const choice of this.#choices) {
      if (serving && choice.slot.current === undefined) continue;
      const score = -Math.log((mix(hash ^ choice.salt) + 0.5) / 2 ** 32) / choice.weight;
      if (score >= least && best !== undefined) continue;
      least = score;
      best = choice;
    }
    return best;
  }

  /** Fisher-Yates. */
  #shuffle(): void {
    const deck = this.#deck;
    for (let i = deck.length - 1; i > 0; i -= 1) {
      const j = Math.floor(this.#random() * (i + 1));
      const card = deck[i] ?? 0;
      deck[i] = deck[j] ?? 0;
      deck[j] = card;
    }
    this.#at = 0;
  }
}

/** FNV-1a over the UTF-16 units, mixed. */
function textHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/** The finaliser of MurmurHash3: every bit of the input changes half of the output's. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
