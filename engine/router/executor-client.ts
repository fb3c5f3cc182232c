import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import { AcquireReply, type AcquireRequest, type SuspectReport } from "../../api/wire/executor.ts";
import type { Log } from "../../net/log.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Endpoint } from "./endpoint.ts";
import type { EndpointIndex } from "./endpoint-index.ts";
import type { SuspectReason } from "./invoke.ts";
import type { Revision } from "./revision.ts";
import type { RouterMetrics } from "./router-metrics.ts";

/** The executor holds an acquire until there is room; the network gets so much more time than that. */
const REPLY_GRACE_MS = 5_000;
/** One call waits so long at most, then it is made again: a dead executor must be noticed while requests still wait. */
const LONGEST_ACQUIRE_MS = 30_000;
const MOST_KNOWN_PODS = 2_000;
const SUSPECT_PAUSE_MS = 5_000;
const MOST_REMEMBERED_SUSPECTS = 10_000;
const MOST_REPORTS_AT_ONCE = 32;
const REPORT_TIMEOUT_MS = 5_000;

export interface ExecutorClientDeps {
  readonly client: Pick<SignedClient, "postJson">;
  readonly index: () => Pick<EndpointIndex, "applyAcquired">;
  readonly metrics: Pick<RouterMetrics, "acquires" | "suspects">;
  readonly log: Log;
  readonly now: () => number;
}

export interface ExecutorClient {
  /** Asks for room for a revision. @returns whether pods came that can be used now; throws `PlatformError` */
  acquire(revision: Revision, waiting: number, waitMs: number): Promise<boolean>;
  /** Reports a pod, at most once in a while, and forgets about it: nothing waits for the answer. */
  suspect(endpoint: Endpoint, reason: SuspectReason): void;
}

export function executorClient(deps: ExecutorClientDeps): ExecutorClient {
  const reported = new Map<string, number>();
  let reporting = 0;

  const report = async (endpoint: Endpoint, reason: SuspectReason) => {
    reporting += 1;
    const body: SuspectReport = {
      namespace: endpoint.namespace,
      podUid: endpoint.podUid,
      podName: endpoint.podName,
      revision: endpoint.revision,
      reason,
    };
    try {
      await deps.client.postJson("/v2/suspect", body, z.unknown(), { timeoutMs: REPORT_TIMEOUT_MS });
    } catch (error) {
      deps.log.debug("Cannot report a suspect pod", { pod: endpoint.podName, reason, error });
    } finally {
      reporting -= 1;
    }
  };

  return {
    acquire: async (revision, waiting, waitMs) => {
      const slot = revision.plan?.slot;
      if (!slot)
        throw new PlatformError("function_not_ready", `Revision "${revision.revision}" serves no function`);
      const boundedMs = Math.max(1, Math.min(waitMs, LONGEST_ACQUIRE_MS));
      const request: AcquireRequest = {
        namespace: slot.namespace,
        name: slot.name,
        uid: revision.uid,
        revision: revision.revision,
        known: knownPods(revision),
        waiting: Math.max(1, waiting),
        requestId: revision.queue.first?.requestId ?? "",
        waitMs: boundedMs,
      };
      try {
        const { endpoints } = await deps.client.postJson("/v2/acquire", request, AcquireReply, {
          timeoutMs: boundedMs + REPLY_GRACE_MS,
        });
        deps.metrics.acquires.series({ result: "ok" }).value += 1;
        return deps.index().applyAcquired(revision, slot.namespace, endpoints) > 0;
      } catch (error) {
        const code = error instanceof PlatformError ? error.code : "internal";
        deps.metrics.acquires.series({ result: code }).value += 1;
        throw error;
      }
    },
    suspect: (endpoint, reason) => {
      deps.metrics.suspects.series({ reason }).value += 1;
      const now = deps.now();
      if ((reported.get(endpoint.podUid) ?? Number.NEGATIVE_INFINITY) > now - SUSPECT_PAUSE_MS) return;
      if (reporting >= MOST_REPORTS_AT_ONCE) return;
      if (reported.size >= MOST_REMEMBERED_SUSPECTS) reported.clear();
      reported.set(endpoint.podUid, now);
      void report(endpoint, reason);
    },
  };
}

/** The pods that the executor need not name again: those in use, and those that this router has done with. */
function knownPods(revision: Revision): string[] {
  const uids = revision.endpoints.map((endpoint) => endpoint.podUid);
  return [...uids, ...revision.shunned].slice(0, MOST_KNOWN_PODS);
}
