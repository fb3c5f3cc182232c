/** Which pods of a node are the platform's: asked from the log store, which watches them, since a node holds no credentials. */
import type { Log } from "../../net/log.ts";

export interface PodFilterOptions {
  /** Gives those of the UIDs that are the platform's. */
  readonly ask: (uids: readonly string[]) => Promise<ReadonlySet<string>>;
  /** Called when an answer was found. */
  readonly onDecided: () => void;
  readonly log: Log;
  readonly now?: () => number;
  readonly askEveryMs?: number;
  /** A pod that the store has not known for so long belongs to somebody else. */
  readonly foreignAfterMs?: number;
}

export interface PodFilter {
  /** Undefined = not known yet. */
  isOurs: (uid: string) => boolean | undefined;
  /** Asks about these now. Throws when the store does not answer. */
  ask(uids: readonly string[]): Promise<void>;
  /** Forgets pods that are not among these. */
  keep(uids: ReadonlySet<string>): void;
  stop(): void;
}

interface Verdict {
  ours: boolean | undefined;
  /** When the store first said that it does not know the pod. */
  unknownSince: number | undefined;
}

const MAX_UIDS = 5_000;

export function createPodFilter(options: PodFilterOptions): PodFilter {
  const { log, now = Date.now, askEveryMs = 1_000, foreignAfterMs = 60_000 } = options;
  const pods = new Map<string, Verdict>();
  let asking = false;
  let failing = false;
  let soon: NodeJS.Timeout | undefined;

  const verdictOf = (uid: string): Verdict => {
    let verdict = pods.get(uid);
    if (!verdict) pods.set(uid, (verdict = { ours: undefined, unknownSince: undefined }));
    return verdict;
  };
  const ask = async (uids: readonly string[]): Promise<void> => {
    let decided = false;
    for (let at = 0; at < uids.length; at += MAX_UIDS) {
      const part = uids.slice(at, at + MAX_UIDS);
      const ours = await options.ask(part);
      for (const uid of part) {
        const verdict = verdictOf(uid);
        verdict.unknownSince ??= now();
        if (ours.has(uid)) verdict.ours = true;
        else if (now() - verdict.unknownSince >= foreignAfterMs) verdict.ours = false;
        decided ||= verdict.ours !== undefined;
      }
    }
    if (decided) options.onDecided();
  };
  const askOpen = async (): Promise<void> => {
    if (asking) return;
    const open = [...pods].filter(([, { ours }]) => ours === undefined).map(([uid]) => uid);
    if (open.length === 0) return;
    asking = true;
    try {
      await ask(open);
      failing = false;
    } catch (error) {
      if (!failing) log.warn("Cannot ask the log store about pods; trying again", { error });
      failing = true;
    } finally {
      asking = false;
    }
  };
  const timer = setInterval(() => void askOpen(), askEveryMs);
  timer.unref();
  return {
    isOurs: (uid) => {
      const known = pods.has(uid);
      const { ours } = verdictOf(uid);
      // A new pod is not left waiting for the next turn.
      if (!known) soon ??= setTimeout(() => void ((soon = undefined), askOpen()), 20).unref();
      return ours;
    },
    ask,
    keep: (uids) => {
      for (const uid of pods.keys()) if (!uids.has(uid)) pods.delete(uid);
    },
    stop: () => {
      clearInterval(timer);
      clearTimeout(soon);
    },
  };
}
