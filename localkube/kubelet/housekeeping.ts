import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { RuntimeKeeper } from "./runtime-keeper.ts";
import { boundLogs } from "./log-bounds.ts";
import { podUidOf } from "./run-spec.ts";

export interface HousekeepingOptions {
  podsDir: string;
  logsDir: string;
  maxOldLogBytes: number;
  isKnown: (uid: string) => boolean;
}

/** Ends processes whose pod is gone. */
export async function endOrphans(keeper: RuntimeKeeper, isKnown: (uid: string) => boolean): Promise<void> {
  const runtime = await keeper.get();
  for (const { id, exit } of keeper.found) {
    if (isKnown(podUidOf(id))) continue;
    if (!exit) await runtime.signal(id, "SIGKILL");
    await runtime.forget(id);
  }
}

/** Removes folders whose pod is gone and bounds the logs that gone pods left. */
export async function housekeep(options: HousekeepingOptions): Promise<void> {
  for (const uid of await readdir(options.podsDir)) {
    if (!options.isKnown(uid)) await rm(join(options.podsDir, uid), { recursive: true, force: true });
  }
  await boundLogs(options.logsDir, options.isKnown, options.maxOldLogBytes);
}
