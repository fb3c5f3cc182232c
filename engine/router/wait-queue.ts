/** What waits in a queue; the two links and `queued` belong to the queue. */
export interface Queued<T> {
  previous: T | undefined;
  next: T | undefined;
  queued: boolean;
}

/** First in, first out, with removal from anywhere; every operation costs the same for any length. */
export class WaitQueue<T extends Queued<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#first;
  }

  push(item: T): void {
    item.previous = this.#last;
    item.next = undefined;
    if (this.#last) this.#last.next = item;
    else this.#first = item;
    this.#last = item;
    item.queued = true;
    this.#length += 1;
  }

  /** Puts an item before all others: it had its turn already. */
  pushFront(item: T): void {
    item.previous = undefined;
    item.next = this.#first;
    if (this.#first) this.#first.previous = item;
    else this.#last = item;
    this.#first = item;
    item.queued = true;
    this.#length += 1;
  }

  shift(): T | undefined {
    const item = this.#first;
    if (item) this.remove(item);
    return item;
  }

  /** Removes an item; nothing happens when it is in no queue. It must not be in another queue than this. */
  remove(item: T): void {
    if (!item.queued) return;
    if (item.previous) item.previous.next = item.next;
    else this.#first = item.next;
    if (item.next) item.next.previous = item.previous;
    else this.#last = item.previous;
    item.previous = undefined;
    item.next = undefined;
    item.queued = false;
    this.#length -= 1;
  }
}
