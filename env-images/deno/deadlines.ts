import type { Exchange } from "./exchange.ts";
import { max, min, now, startTimer, stopTimer } from "./primordials.ts";

/**
 * The running exchanges, and one timer for the nearest of their due times: a timer of its own per request would cost more than
 * most requests do.
 */
export class Running {
  #first: Exchange | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #firesAt = Infinity;

  add(exchange: Exchange): void {
    exchange.next = this.#first;
    if (this.#first !== null) this.#first.previous = exchange;
    this.#first = exchange;
    this.schedule(exchange);
  }

  remove(exchange: Exchange): void {
    if (exchange.previous === null) this.#first = exchange.next;
    else exchange.previous.next = exchange.next;
    if (exchange.next !== null) exchange.next.previous = exchange.previous;
    exchange.next = null;
    exchange.previous = null;
  }

  /** Makes sure that the timer fires no later than the exchange is due. */
  schedule(exchange: Exchange): void {
    if (exchange.dueAt >= this.#firesAt) return;
    if (this.#timer !== undefined) stopTimer(this.#timer);
    this.#firesAt = exchange.dueAt;
    this.#timer = startTimer(() => this.#fire(), min(max(0, exchange.dueAt - now()), 0x7fffffff));
  }

  /** Calls `visit` for every running exchange. */
  forEach(visit: (exchange: Exchange) => void): void {
    for (let at = this.#first; at !== null; ) {
      const { next } = at;
      visit(at);
      at = next;
    }
  }

  #fire(): void {
    this.#timer = undefined;
    this.#firesAt = Infinity;
    const at = now();
    // Timers may fire a fraction of a millisecond early.
    this.forEach((exchange) => {
      if (exchange.dueAt <= at + 1) exchange.expire();
    });
    this.forEach((exchange) => this.schedule(exchange));
  }
}
