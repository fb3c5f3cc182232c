/** Something with integer deadlines. */
export interface Swept {
  /** Acts on what has expired. @param now milliseconds, as `Sweeper.now` */
  sweep(now: number): void;
}

/**
 * One timer for all deadlines: it compares integers, so that a request costs no timer of its own. It runs only while it has members.
 */
export class Sweeper {
  readonly #members = new Set<Swept>();
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | undefined;
  /** Milliseconds of a monotonic clock, at most `everyMs` old; never 0. */
  now = clock();

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  add(member: Swept): void {
    this.#members.add(member);
    if (this.#timer !== undefined) return;
    this.now = clock();
    this.#timer = setInterval(() => this.#tick(), this.#everyMs);
    this.#timer.unref();
  }

  delete(member: Swept): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    this.now = clock();
    for (const member of this.#members) member.sweep(this.now);
  }
}

function clock(): number {
  return 1 + Math.trunc(performance.now());
}
