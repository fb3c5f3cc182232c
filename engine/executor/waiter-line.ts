import { PlatformError } from "../../api/errors.ts";
import type { Endpoint } from "../../api/wire/executor.ts";

/** The calls that wait for a pod of one revision, longest first. Each ends once: served, failed, timed out or left. */
export interface WaiterLine {
  readonly size: number;
  /** Requests behind the waiting calls. */
  readonly demand: number;
  /** `timedOut` makes the error of a call that waited `waitMs` in vain. */
  add(call: WaitingCall, timedOut: (waitMs: number) => PlatformError): Promise<Endpoint[]>;
  /** Gives `slots` requests of one pod to those who wait longest; tells whether anybody took it. */
  grant(endpoint: Endpoint, slots: number): boolean;
  failAll(error: PlatformError): void;
}

export interface WaitingCall {
  readonly waiting: number;
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
}

interface Waiter {
  readonly waiting: number;
  readonly end: (result: Endpoint[] | PlatformError) => void;
}

/** `onShorter` is told after each call that ended. */
export function waiterLine(onShorter: () => void): WaiterLine {
  const waiters = new Set<Waiter>();
  let demand = 0;

  const end = (waiter: Waiter, result: Endpoint[] | PlatformError) => {
    if (!waiters.delete(waiter)) return;
    demand -= waiter.waiting;
    waiter.end(result);
    onShorter();
  };

  return {
    get size() {
      return waiters.size;
    },
    get demand() {
      return demand;
    },
    add: ({ waiting, waitMs, signal }, timedOut) =>
      new Promise((resolve, reject) => {
        const leave = () => end(waiter, new PlatformError("client_disconnect"));
        const timer = setTimeout(() => end(waiter, timedOut(waitMs)), waitMs);
        const waiter: Waiter = {
          waiting,
          end: (result) => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", leave);
            if (result instanceof PlatformError) reject(result);
            else resolve(result);
          },
        };
        waiters.add(waiter);
        demand += waiting;
        if (signal?.aborted === true) leave();
        else signal?.addEventListener("abort", leave, { once: true });
      }),
    grant: (endpoint, slots) => {
      let left = slots;
      for (const waiter of waiters) {
        if (left <= 0) break;
        left -= waiter.waiting;
        end(waiter, [endpoint]);
      }
      return left < slots;
    },
    failAll: (error) => {
      for (const waiter of waiters) end(waiter, error);
    },
  };
}
