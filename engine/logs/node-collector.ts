import { LogPositions, PodsKnown } from "../../api/wire/logs.ts";
import type { Log } from "../../net/log.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import { type Collector, createCollector } from "./collector.ts";
import { createLineSender, type LineSender } from "./line-sender.ts";
import { findLogFolders } from "./log-folders.ts";
import { createPodFilter, type PodFilter } from "./pod-filter.ts";
import { placeOf } from "./segment.ts";

export interface NodeCollectorOptions {
  /** Signed calls to the log store. */
  readonly store: Pick<SignedClient, "postJson" | "getJson">;
  readonly node: string;
  /** Folder of the containers' logs, `/var/log/pods`. */
  readonly root: string;
  readonly log: Log;
  /** How often everything is looked at whether or not a notification came. */
  readonly scanMs?: number;
  readonly foreignAfterMs?: number;
}

/** Reads the logs of one node's containers and sends them to the log store; keeps nothing itself. */
export interface NodeCollector {
  readonly containers: number;
  readonly pendingLines: number;
  readonly sentLines: number;
  trouble(): string | undefined;
  /** Reads what is there and sends it for at most so long; the rest is read by the next collector. */
  stop(deadlineMs: number): Promise<void>;
}

const FORGET_MS = 60_000;

/** Starts to collect where the store's own positions say. Throws when the store does not answer. */
export async function startNodeCollector(options: NodeCollectorOptions): Promise<NodeCollector> {
  const { store, node, root, log } = options;
  const parts: { collector?: Collector } = {};
  const look = (): void => parts.collector?.look();
  const { positions } = await store.getJson(`/v1/positions?node=${encodeURIComponent(node)}`, LogPositions);
  const filter = createPodFilter({
    ask: async (uids) => new Set((await store.postJson("/v1/pods", { uids }, PodsKnown)).ours),
    onDecided: look,
    log,
    ...(options.foreignAfterMs === undefined ? {} : { foreignAfterMs: options.foreignAfterMs }),
  });
  const present = (): string[] => [...new Set(findLogFolders(root).map(({ uid }) => uid))];
  try {
    // Known before the first look: only then is what was rotated away meanwhile read on.
    await filter.ask(present());
  } catch (error) {
    filter.stop();
    throw error;
  }
  const sender = createLineSender({ store, node, log, onRoom: look });
  const collector = createCollector({
    root,
    stored: new Map(Object.entries(positions)),
    factsOf: () => undefined,
    isWanted: filter.isOurs,
    isFull: sender.isFull,
    readsUnknownRotated: true,
    sink: (lines, uid) => {
      sender.push(
        lines.flatMap(({ line, from }) => {
          const place = placeOf(from);
          return place ? [{ line, uid, ...place }] : [];
        }),
      );
    },
    log,
    ...(options.scanMs === undefined ? {} : { scanMs: options.scanMs }),
  });
  parts.collector = collector;
  const forgetting = setInterval(() => filter.keep(new Set(present())), FORGET_MS);
  forgetting.unref();
  collector.start();
  return handle(collector, sender, filter, forgetting);
}

function handle(
  collector: Collector,
  sender: LineSender,
  filter: PodFilter,
  forgetting: NodeJS.Timeout,
): NodeCollector {
  return {
    get containers() {
      return collector.containers;
    },
    get pendingLines() {
      return sender.pendingLines;
    },
    get sentLines() {
      return sender.sentLines;
    },
    trouble: () => sender.trouble(),
    stop: async (deadlineMs) => {
      clearInterval(forgetting);
      collector.stop();
      filter.stop();
      await sender.stop(deadlineMs);
    },
  };
}
