import type { Commit, Committed, Lease } from "../journal/journal.ts";
import type { WorkerPorts } from "./ports.ts";
import { pausing } from "./pausing.ts";

/**
 * Commits though the store's answer may be lost. A conflict after a lost answer is our own commit that had taken place after all, if the lease is still
 * ours: nobody else commits under its epoch.
 */
export async function commitUntilAnswered(
  lease: Lease,
  commit: Commit,
  leaseMs: number,
  ports: WorkerPorts,
  wanted: () => boolean,
): Promise<Committed> {
  let unanswered = false;
  return pausing(ports, lease.key, "commit", wanted, async () => {
    const asked = unanswered;
    unanswered = true;
    const answer = await ports.journal.commit(lease, commit);
    if (answer.kind === "committed" || !asked) return answer;
    const { lost } = await ports.journal.renew([lease], leaseMs);
    // Whatever came into the inbox since is looked for by the caller.
    return lost.length > 0 ? answer : { kind: "committed", at: ports.clock.now(), waiting: true };
  });
}
