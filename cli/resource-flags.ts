import type { Flags, FlagValues } from "./command.ts";
import { UsageError } from "./command.ts";

/** CPU in millicores, memory in MiB, as in the reference system. */
export const RESOURCE_FLAGS = {
  mincpu: { type: "integer", help: "CPU request in millicores", min: 1 },
  maxcpu: { type: "integer", help: "CPU limit in millicores", min: 1 },
  minmemory: { type: "integer", help: "Memory request in MiB", min: 1 },
  maxmemory: { type: "integer", help: "Memory limit in MiB", min: 1 },
} as const satisfies Flags;

interface Resources {
  limits?: Record<string, unknown> | undefined;
  requests?: Record<string, unknown> | undefined;
}

/** Resource requirements from flags over those that are there; undefined when there are none. @throws {UsageError} */
export function resourcesOf(
  flags: FlagValues<typeof RESOURCE_FLAGS>,
  live: Resources = {},
): Resources | undefined {
  if (flags.mincpu && flags.maxcpu && flags.mincpu > flags.maxcpu)
    throw new UsageError(
      `--mincpu must not be greater than --maxcpu, got ${flags.mincpu} and ${flags.maxcpu}`,
    );
  if (flags.minmemory && flags.maxmemory && flags.minmemory > flags.maxmemory)
    throw new UsageError(
      `--minmemory must not be greater than --maxmemory, got ${flags.minmemory} and ${flags.maxmemory}`,
    );
  const requests = {
    ...live.requests,
    ...(flags.mincpu ? { cpu: `${flags.mincpu}m` } : {}),
    ...(flags.minmemory ? { memory: `${flags.minmemory}Mi` } : {}),
  };
  const limits = {
    ...live.limits,
    ...(flags.maxcpu ? { cpu: `${flags.maxcpu}m` } : {}),
    ...(flags.maxmemory ? { memory: `${flags.maxmemory}Mi` } : {}),
  };
  const resources = {
    ...(Object.keys(requests).length > 0 ? { requests } : {}),
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
  };
  return Object.keys(resources).length > 0 ? resources : undefined;
}
