import type { RunKey, RunStatus } from "../core/run-record.ts";
import type { Journal, RunSummary } from "../journal/journal.ts";

/** How long runs are kept once they have ended: what is over either limit goes, the oldest first. */
export interface RetentionPolicy {
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

export const DEFAULT_RETENTION: RetentionPolicy = { maxCount: 10_000, maxAgeMs: 7 * 86_400_000 };

export interface RetentionOptions {
  readonly journal: Pick<Journal, "list" | "remove" | "now" | "endedNamespaces">;
  /** Of a workflow that may be no more. */
  readonly policyOf: (namespace: string, workflow: string) => RetentionPolicy;
  /** Between two pages, so that cleaning never keeps the store from its work. */
  readonly pause?: () => Promise<void>;
}

const ENDED: readonly RunStatus[] = ["succeeded", "failed", "cancelled", "timed-out", "terminated"];
const PAGE = 500;

interface Kept {
  readonly key: RunKey;
  readonly finishedAt: number;
}

/**
 * Removes what has been kept long enough: record, history, inbox, payloads. Running runs are never touched, and one that was taken up again meanwhile
 * stays (`remove` refuses it). May run in several processes at once.
 * @returns how many were removed
 */
export async function removeEnded(options: RetentionOptions): Promise<number> {
  let removed = 0;
  for (const namespace of await options.journal.endedNamespaces())
    removed += await removeEndedOf(namespace, options);
  return removed;
}

async function removeEndedOf(namespace: string, options: RetentionOptions): Promise<number> {
  const { journal, policyOf } = options;
  const now = await journal.now();
  const byWorkflow = new Map<string, Kept[]>();
  let removed = 0;
  for await (const { key, workflow, finishedAt } of endedRuns(namespace, options)) {
    if (finishedAt === undefined) continue;
    if (now - finishedAt > policyOf(namespace, workflow).maxAgeMs)
      removed += Number(await journal.remove(key));
    else {
      const kept = byWorkflow.get(workflow) ?? [];
      byWorkflow.set(workflow, kept);
      kept.push({ key, finishedAt });
    }
  }
  for (const [workflow, kept] of byWorkflow) {
    const over = kept
      .toSorted((a, b) => b.finishedAt - a.finishedAt)
      .slice(policyOf(namespace, workflow).maxCount);
    for (const { key } of over) removed += Number(await journal.remove(key));
  }
  return removed;
}

async function* endedRuns(
  namespace: string,
  { journal, pause }: RetentionOptions,
): AsyncGenerator<RunSummary> {
  for (const status of ENDED) {
    let after: string | undefined;
    do {
      const page = await journal.list({
        namespace,
        status,
        limit: PAGE,
        ...(after !== undefined && { after }),
      });
      yield* page.runs;
      after = page.next;
      await pause?.();
    } while (after !== undefined);
  }
}
