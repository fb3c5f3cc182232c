import type { PlatformError } from "../../api/errors.ts";
import type { Pod } from "./pod.ts";

/** A place in the queue for a generic pod. */
export interface Ticket {
  /** Gives the place up; without effect once the ticket was served. */
  cancel(): void;
}

export interface WaitingTicket {
  readonly owner: string;
  readonly deliver: (pod: Pod) => void;
  readonly fail: (error: PlatformError) => void;
}

export interface TicketQueue {
  readonly size: number;
  add(owner: string, deliver: WaitingTicket["deliver"], fail: WaitingTicket["fail"]): Ticket;
  /** Takes the next ticket out: owners take turns, each owner's tickets come in order. */
  next(): WaitingTicket | undefined;
  /** Takes all tickets out. */
  drain(): WaitingTicket[];
}

/** Queue in which a function that asks for a hundred pods does not keep another one waiting for its first. */
export function ticketQueue(): TicketQueue {
  const owners = new Map<string, WaitingTicket[]>();
  let size = 0;
  return {
    get size() {
      return size;
    },
    add: (owner, deliver, fail) => {
      const ticket: WaitingTicket = { owner, deliver, fail };
      const line = owners.get(owner);
      if (line) line.push(ticket);
      else owners.set(owner, [ticket]);
      size += 1;
      return {
        cancel: () => {
          const tickets = owners.get(owner);
          const at = tickets?.indexOf(ticket) ?? -1;
          if (!tickets || at < 0) return;
          tickets.splice(at, 1);
          size -= 1;
          if (tickets.length === 0) owners.delete(owner);
        },
      };
    },
    next: () => {
      for (const [owner, tickets] of owners) {
        const ticket = tickets.shift();
        owners.delete(owner);
        if (tickets.length > 0) owners.set(owner, tickets);
        if (!ticket) continue;
        size -= 1;
        return ticket;
      }
      return undefined;
    },
    drain: () => {
      const all = [...owners.values()].flat();
      owners.clear();
      size = 0;
      return all;
    },
  };
}
