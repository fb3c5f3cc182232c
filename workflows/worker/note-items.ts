import { effectOf } from "../core/delivery-rules.ts";
import type { Message, RunRecord } from "../core/run-record.ts";
import type { Journal, Lease } from "../journal/journal.ts";
import type { ArrivedOutcome } from "./perform-item.ts";

/** An item of a map that something has come for. */
export interface TouchedItem {
  readonly token: string;
  readonly index: number;
}

/**
 * Notes what messages say of items of maps, where whoever performs the map looks for it. Doing so again changes nothing; what is of an attempt that is over is left out.
 * `conflict`: the lease is lost.
 */
export async function noteItems(
  { effects }: RunRecord,
  messages: readonly Message[],
  lease: Lease,
  journal: Pick<Journal, "getItemNotes" | "putItemNote">,
  now: number,
): Promise<readonly TouchedItem[] | "conflict"> {
  const noted = await Promise.all(
    messages.map(async (message): Promise<TouchedItem | "conflict" | undefined> => {
      if (message.kind !== "completed" && message.kind !== "heartbeat") return undefined;
      const token = effectOf(message.token);
      const index = Number(message.token.slice(token.length + 1));
      if (message.token === token || effects[token]?.map === undefined || !Number.isInteger(index))
        return undefined;
      const [notes] = await journal.getItemNotes(lease.key, token, index, 1);
      const attempt = notes?.state === undefined ? 1 : attemptOf(notes.state);
      if (message.attempt !== undefined && message.attempt !== attempt) return undefined;
      const [note, text] =
        message.kind === "heartbeat"
          ? (["beat", String(now)] as const)
          : (["outcome", outcomeText({ attempt, outcome: message.outcome })] as const);
      const stored = await journal.putItemNote(lease, token, index, note, text);
      return stored === "conflict" ? stored : { token, index };
    }),
  );
  const touched = noted.filter((item) => item !== undefined);
  return touched.includes("conflict") ? "conflict" : touched.filter((item) => item !== "conflict");
}

const outcomeText = (arrived: ArrivedOutcome): string => JSON.stringify(arrived);
const attemptOf = (state: string): number => {
  const { attempt }: { readonly attempt: number } = JSON.parse(state);
  return attempt;
};
