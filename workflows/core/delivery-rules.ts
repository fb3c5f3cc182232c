import type { Message, RunRecord } from "../core/run-record.ts";

/** By what a message is known again for as long as its run is kept: the event's id, the token of a completion or timer. */
export function dedupeMark(message: Message): string | undefined {
  switch (message.kind) {
    case "event":
      return `event:${message.id}`;
    case "completed":
      return `completed:${attemptMark(message.token, message.attempt)}`;
    case "timer":
      return `timer:${message.token}`;
    default:
      return undefined;
  }
}

/** Why a run does not take a message now: its token is closed, or the machine has no such event and nobody asked to keep it. Before its first transition a run takes every event. */
export function unacceptable(
  record: Pick<RunRecord, "effects" | "timers" | "accepts" | "snapshot" | "ending">,
  message: Message,
): "stale" | "refused" | undefined {
  switch (message.kind) {
    case "completed":
    case "heartbeat":
      return isOpen(record, message) ? undefined : "stale";
    case "timer":
      return message.token in record.timers ? undefined : "stale";
    case "event":
      return message.buffered || record.snapshot === "" || accepts(record, message.event.type)
        ? undefined
        : "refused";
    default:
      return undefined;
  }
}

/** An attempt of an effect or item, as it is known again: the first one has no number. */
export const attemptMark = (token: string, attempt = 1): string =>
  attempt === 1 ? token : `${token}#${attempt}`;

/** Whether an effect is open and, when the message is of a certain attempt, at that attempt; the attempts of items are their map's own concern. */
function isOpen(
  { effects }: Pick<RunRecord, "effects">,
  { token, attempt }: { readonly token: string; readonly attempt?: number },
): boolean {
  const effect = effects[effectOf(token)];
  if (!effect) return false;
  return attempt === undefined || token !== effect.token || attempt === effect.attempt;
}

/** `<transition>.<index>` of a token that may be an item's: `<transition>.<index>.<item>`. */
export const effectOf = (token: string): string => token.split(".", 2).join(".");

/** Whether the machine takes events of a type now. */
export const accepts = (record: Pick<RunRecord, "accepts" | "ending">, type: string): boolean =>
  record.ending === undefined && record.accepts.some((accepted) => covers(accepted, type));

/** XState's wildcards: `*` takes all, `order.*` takes `order` and what begins with `order.`. */
function covers(accepted: string, type: string): boolean {
  if (accepted === "*" || accepted === type) return true;
  if (!accepted.endsWith(".*")) return false;
  const prefix = accepted.slice(0, -2);
  return type === prefix || type.startsWith(`${prefix}.`);
}
