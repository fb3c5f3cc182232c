import type { FunctionVersion } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { FunctionWorld } from "../../kube/function-world.ts";
import { FUNCTION_VERSIONS } from "../../kube/kinds.ts";
import type { Log } from "../../net/log.ts";
import { regularly } from "../../net/regularly.ts";
import type { Journal } from "../journal/journal.ts";
import { holdAnnotation, holdersOf } from "./hold.ts";

/*
 * Gives back the FunctionVersions that runs have needed. Invariants:
 * 1. What an unfinished run pins stays held, and what one pins that has failed and may be retried.
 * 2. What new runs may still be given stays held, and for `idleMs` after that: a run that is being started anywhere is stored by then.
 */

export interface ReleaseHoldsOptions {
  readonly journal: Pick<Journal, "list" | "load">;
  readonly client: Pick<KubeClient, "patch">;
  readonly world: Pick<FunctionWorld, "allVersions" | "versionsOf" | "aliasesOf">;
  /** Default 10 min. */
  readonly idleMs?: number;
  readonly now?: () => number;
}

export interface HoldsReleaser {
  /** Looks once; gives how many holds it took away. */
  release(): Promise<number>;
}

interface Hold {
  readonly name: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly version: string;
}

const IDLE_MS = 600_000;
const PAGE = 200;
const NEEDING = ["running", "failed", "timed-out"] as const;

export function holdsReleaser(options: ReleaseHoldsOptions): HoldsReleaser {
  const { client, journal, world } = options;
  const now = options.now ?? (() => performance.now());
  const idleMs = options.idleMs ?? IDLE_MS;
  /** Since when each hold is of no use to new runs. */
  const idleSince = new Map<string, number>();
  const idle = (holds: readonly Hold[]): Hold[] => {
    const names = new Set(holds.map(({ name }) => name));
    for (const name of idleSince.keys()) if (!names.has(name)) idleSince.delete(name);
    return holds.filter(({ name }) => {
      const since = idleSince.get(name) ?? now();
      idleSince.set(name, since);
      return now() - since >= idleMs;
    });
  };
  return {
    release: async () => {
      const needs = new Map<string, ReadonlySet<string>>();
      let released = 0;
      for (const { namespace, workflow, version } of idle(unofferedHolds(world))) {
        const key = `${namespace}/${workflow}`;
        const needed = needs.get(key) ?? (await pinnedVersions(journal, namespace, workflow));
        needs.set(key, needed);
        if (needed.has(version)) continue;
        const annotations = { [holdAnnotation(workflow)]: null };
        await client.patch(FUNCTION_VERSIONS, { namespace, name: version }, { metadata: { annotations } });
        released += 1;
      }
      return released;
    },
  };
}

/** Holds of versions that no new run of a plain function or an alias is given. */
const unofferedHolds = (world: ReleaseHoldsOptions["world"]): Hold[] =>
  world.allVersions().flatMap((version): Hold[] => {
    const holders = holdersOf(version);
    if (holders.length === 0 || isOffered(version, world)) return [];
    const { namespace = "default", name, uid = "" } = version.metadata;
    return holders.map((workflow) => ({
      name: `${uid}/${workflow}`,
      namespace,
      workflow,
      version: name,
    }));
  });

function isOffered(version: FunctionVersion, world: ReleaseHoldsOptions["world"]): boolean {
  const { namespace = "default", name } = version.metadata;
  const { functionName, sequence } = version.spec;
  const newest = Math.max(...world.versionsOf(namespace, functionName).map(({ spec }) => spec.sequence));
  if (sequence >= newest) return true;
  return world
    .aliasesOf(namespace, functionName)
    .some(({ spec, status }) =>
      [spec.version, spec.secondaryVersion, status?.resolvedVersion].includes(name),
    );
}

/** What the runs of a workflow pin that go on, or may be taken up again. */
async function pinnedVersions(
  journal: ReleaseHoldsOptions["journal"],
  namespace: string,
  workflow: string,
): Promise<ReadonlySet<string>> {
  const versions = new Set<string>();
  for (const status of NEEDING) {
    let after: string | undefined;
    do {
      const filter = { namespace, workflow, status, limit: PAGE };
      const page = await journal.list(after === undefined ? filter : { ...filter, after });
      for (const record of await Promise.all(page.runs.map(({ key }) => journal.load(key))))
        for (const pin of Object.values(record?.facts.pins ?? {}))
          if (pin.kind === "function") versions.add(pin.version);
      after = page.next;
    } while (after !== undefined);
  }
  return versions;
}

/** Looks every `everyMs`, at moments of its own, until `signal` aborts. */
export const releaseHoldsRegularly = (
  releaser: HoldsReleaser,
  everyMs: number,
  log: Log,
  signal: AbortSignal,
): Promise<void> =>
  regularly(
    { everyMs, spread: true, signal },
    async () => {
      const released = await releaser.release();
      if (released > 0) log.info("Gave back what no run needs any more", { holds: released });
    },
    (error) => log.warn("Cannot give back what runs have needed; tried again later", { error }),
  );
