import type { Log } from "../../../net/log.ts";
import { regularly } from "../../../net/regularly.ts";
import { PARTITIONS } from "./invocation-id.ts";
import type { InvocationJournal } from "./journal.ts";
import type { Orphans } from "./orphans.ts";
import type { Outbox } from "./outbox.ts";
import { removeAll } from "./redrive-dead-letters.ts";
import type { Spills } from "./spills.ts";

const HOUSEKEEPING_MS = 5_000;
const CLEAN_AT_ONCE = 1_000;
const CLEANED_A_ROUND = 16;

export interface House {
  readonly journal: InvocationJournal;
  readonly spills: Spills;
  readonly unclear: Orphans;
  readonly tellers: Outbox;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Whatever a worker that is gone has left undone, and what is kept no longer. */
export async function keepHouse({ journal, spills, unclear, tellers, log, signal }: House): Promise<void> {
  let partition = 0;
  const round = async (): Promise<void> => {
    tellers.tell(await journal.untold(HOUSEKEEPING_MS));
    await unclear
      .check()
      .catch((error: unknown) => log.debug("Cannot look for bodies without a record", { error }));
    // A part of them each time: in a minute or so all.
    for (let count = 0; count < CLEANED_A_ROUND && !signal.aborted; count += 1) {
      const { spills: left } = await journal.clean(partition, CLEAN_AT_ONCE);
      partition = (partition + 1) % PARTITIONS;
      await removeAll(spills, left);
    }
  };
  await regularly({ everyMs: HOUSEKEEPING_MS, signal }, round, (error) =>
    log.debug("Cannot keep house", { error }),
  );
}
