import type { CanaryConfig } from "../../api/kinds/index.ts";
import { setConditions } from "../../kube/conditions.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import type { OwnWrites } from "../../kube/own-writes.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { canaryConditions } from "./conditions.ts";
import type { CanaryState } from "./decide.ts";
import type { RecentSeconds } from "./recent-seconds.ts";

/** What a process knows of a canary that it runs. */
export interface CanaryMemory {
  readonly uid: string | undefined;
  state: CanaryState;
  recent: RecentSeconds;
  writtenAtMs: number;
  /** The decisions that were made known. */
  told: CanaryState["decisions"];
}

/** Counters and the wording of a finding are written so often at most; decisions at once. */
const WRITE_EVERY_MS = 5_000;

/** Takes over the state and writes it, if it must be or it is time for it; gives the object as it is then. */
export async function keepState(
  { client, now }: Pick<ControllerContext, "client" | "now">,
  own: OwnWrites,
  canary: CanaryConfig,
  memory: CanaryMemory,
  next: CanaryState,
): Promise<CanaryConfig> {
  const at = now();
  const moved = JSON.stringify(decisive(next)) !== JSON.stringify(decisive(canary.status ?? {}));
  memory.state = next;
  if (!moved && at.getTime() - memory.writtenAtMs < WRITE_EVERY_MS) return canary;
  const updates = canaryConditions(next, canary.spec.dryRun ?? false);
  const { generation } = canary.metadata;
  const conditions = setConditions(canary.status?.conditions, updates, { generation, now: at });
  memory.state = { ...next, conditions: [...conditions] };
  const written = await writeStatus(client, CANARY_CONFIGS, canary, memory.state, own);
  memory.writtenAtMs = at.getTime();
  return written;
}

/** What must not be lost, in one order of fields. */
function decisive({
  counts: _counts,
  routers: _routers,
  readAt: _readAt,
  conditions: _conditions,
  sentence: _sentence,
  ...rest
}: CanaryState): unknown {
  return Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}
