/**
 * Leader election and heartbeats on Leases of coordination.k8s.io.
 *
 * Invariants
 * E1. A holder that could not renew for `renewDeadlineMs` (< `durationMs`) gives up by itself before anyone else may take over.
 * E2. Another's lease is taken over only after it was seen unchanged for its whole duration on the own clock: clocks of two
 *     machines are never compared.
 * E3. Every write is conditional on the resourceVersion read: of two that take over at once, one wins.
 */
import type { KubeClient } from "./client.ts";
import { type Lease, LEASES } from "./core.ts";
import { createInformer, type Informer } from "./informer.ts";
import { isAlreadyExists, isConflict, isNotFound } from "./kube-error.ts";
import { sleep } from "./sleep.ts";

type LeaseClient = Pick<KubeClient, "find" | "create" | "update" | "delete">;

export interface LeaderOptions {
  client: LeaseClient;
  namespace: string;
  name: string;
  /** Unique per process. */
  identity: string;
  durationMs?: number;
  renewDeadlineMs?: number;
  retryMs?: number;
  /** Called each time the lease is won; `lost` aborts when it is lost or given up. */
  onLeading: (lost: AbortSignal) => void;
  onError?: (error: unknown) => void;
}

export interface Leader {
  isLeading(): boolean;
  /** Gives the lease up, so that another takes over at once. */
  stop(): Promise<void>;
}

/** Takes part in the election of one leader until stopped. */
export function electLeader(options: LeaderOptions): Leader {
  const durationMs = options.durationMs ?? 15_000;
  const renewDeadlineMs = options.renewDeadlineMs ?? (durationMs * 2) / 3;
  const retryMs = options.retryMs ?? durationMs / 7.5;
  const stopping = new AbortController();
  const seen = { version: "", at: 0 };
  let term: AbortController | undefined;
  let renewedAt = -Infinity;

  const attempt = async (): Promise<boolean> => {
    const lease = await options.client.find(LEASES, options);
    if (lease && lease.metadata.resourceVersion !== seen.version) {
      seen.version = lease.metadata.resourceVersion ?? "";
      seen.at = performance.now();
    }
    const holder = lease?.spec?.holderIdentity ?? "";
    if (holder !== "" && holder !== options.identity) {
      const theirDurationMs = (lease?.spec?.leaseDurationSeconds ?? durationMs / 1000) * 1000;
      if (performance.now() - seen.at < theirDurationMs) return false;
    }
    const startedAt = performance.now();
    await writeLease(options.client, options, lease, durationMs);
    renewedAt = startedAt;
    return true;
  };

  const step = async (): Promise<void> => {
    try {
      if (await attempt()) {
        if (!term) {
          term = new AbortController();
          options.onLeading(term.signal);
        }
        return;
      }
      resign();
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return;
      options.onError?.(error);
    } finally {
      if (term && performance.now() - renewedAt > renewDeadlineMs) resign();
    }
  };

  const resign = () => {
    term?.abort();
    term = undefined;
  };

  /** A call that hangs must not keep the term alive. */
  const watchdog = setInterval(() => {
    if (term && performance.now() - renewedAt > renewDeadlineMs) resign();
  }, retryMs / 2);
  watchdog.unref();

  const run = (async () => {
    while (!stopping.signal.aborted) {
      await step();
      await sleep(retryMs, stopping.signal);
    }
  })();

  return {
    isLeading: () => term !== undefined,
    stop: async () => {
      stopping.abort();
      await run;
      clearInterval(watchdog);
      const held = term !== undefined;
      resign();
      if (held)
        await releaseLease(options.client, options).catch((error: unknown) => options.onError?.(error));
    },
  };
}

interface LeaseName {
  namespace: string;
  name: string;
  identity: string;
}

async function writeLease(
  client: LeaseClient,
  { namespace, name, identity }: LeaseName,
  lease: Lease | undefined,
  durationMs: number,
): Promise<void> {
  const now = microTime(new Date());
  const taken = lease?.spec?.holderIdentity !== identity;
  const spec = {
    holderIdentity: identity,
    leaseDurationSeconds: Math.max(1, Math.round(durationMs / 1000)),
    renewTime: now,
    acquireTime: taken ? now : (lease?.spec?.acquireTime ?? now),
    leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (lease && taken ? 1 : 0),
  };
  if (lease) await client.update(LEASES, { ...lease, spec });
  else await client.create(LEASES, { metadata: { namespace, name }, spec });
}

async function releaseLease(client: LeaseClient, { namespace, name, identity }: LeaseName): Promise<void> {
  const lease = await client.find(LEASES, { namespace, name });
  if (lease?.spec?.holderIdentity !== identity) return;
  await client.update(LEASES, {
    ...lease,
    spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 },
  });
}

export interface MemberOptions {
  client: KubeClient;
  namespace: string;
  /** Label value that all members share; leases are labelled `isotope.dev/group=<group>`. */
  group: string;
  identity: string;
  durationMs?: number;
  /** Called with the sorted identities of the live members whenever the set changes, own one included. */
  onChange: (members: readonly string[]) => void;
  onError?: (error: unknown) => void;
}

export const LABEL_LEASE_GROUP = "isotope.dev/group";

/**
 * Keeps a Lease of its own alive and tells which members of the group live, e.g. for rendezvous hashing. A member counts as dead
 * when its lease was not renewed for its duration, and at once when it stops in order.
 */
export function joinGroup(options: MemberOptions): { members(): readonly string[]; stop(): Promise<void> } {
  const durationMs = options.durationMs ?? 15_000;
  const name = `${options.group}-${options.identity}`;
  const stopping = new AbortController();
  const heard = new Map<string, number>();
  let members: readonly string[] = [];
  const leases: Informer<Lease> = createInformer({
    client: options.client,
    type: LEASES,
    namespace: options.namespace,
    labelSelector: `${LABEL_LEASE_GROUP}=${options.group}`,
    onError: (error) => options.onError?.(error),
  });

  const review = () => {
    const now = performance.now();
    const live = leases
      .list()
      .filter(
        (lease) =>
          now - (heard.get(lease.metadata.name) ?? now) < (lease.spec?.leaseDurationSeconds ?? 15) * 1000,
      )
      .map((lease) => lease.spec?.holderIdentity ?? "")
      .filter((identity) => identity !== "")
      .sort();
    if (live.join("\n") === members.join("\n")) return;
    members = live;
    options.onChange(live);
  };
  leases.subscribe({
    onChange: (change) => {
      const lease = change.type === "delete" ? change.previous : change.object;
      if (change.type === "delete") heard.delete(lease.metadata.name);
      else heard.set(lease.metadata.name, performance.now());
      review();
    },
  });
  leases.start();

  const beat = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await renewMember(options, name, durationMs);
      } catch (error) {
        if (!isConflict(error) && !isAlreadyExists(error)) options.onError?.(error);
      }
      review();
      await sleep(durationMs / 4, stopping.signal);
    }
  };
  const run = beat();
  return {
    members: () => members,
    stop: async () => {
      stopping.abort();
      await run;
      await leases.stop();
      await options.client
        .delete(LEASES, { namespace: options.namespace, name })
        .catch((error: unknown) => options.onError?.(error));
    },
  };
}

async function renewMember(options: MemberOptions, name: string, durationMs: number): Promise<void> {
  const ref = { namespace: options.namespace, name };
  const renewTime = microTime(new Date());
  try {
    await options.client.patch(LEASES, ref, { spec: { renewTime } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    await options.client.create(LEASES, {
      metadata: { ...ref, labels: { [LABEL_LEASE_GROUP]: options.group } },
      spec: {
        holderIdentity: options.identity,
        leaseDurationSeconds: Math.max(1, Math.round(durationMs / 1000)),
        acquireTime: renewTime,
        renewTime,
      },
    });
  }
}

/** metav1.MicroTime. */
function microTime(date: Date): string {
  return date.toISOString().replace("Z", "000Z");
}
