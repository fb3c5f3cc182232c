import type { LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";
import { COUNTERS_PATH, RevisionCounters } from "../../api/wire/counters.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";

/**
 * Reads what routers count.
 *
 * Invariants
 * R1. Every address that the host has now is asked, at each reading: routers come and go in between.
 * R2. Counters are cumulative, so a router that is left out of a reading is in a later one with all that it counted.
 * R3. A router that did not answer holds up one reading, and then none until it answers again: it is asked beside them.
 */
export interface RouterCounters {
  /** The counters of these functions in every router that answers in time; none when no router can be found. */
  read(uids: readonly string[]): Promise<RevisionCounters[]>;
  close(): Promise<void>;
}

const READ_TIMEOUT_MS = 2_000;
const AUDIENCE = "router-internal";
/** Connections to routers that are gone are closed after so many readings without them. */
const FORGET_AFTER = 10;

interface Peer {
  readonly client: SignedClient;
  /** Readings since its address was last there. */
  unused: number;
  /** It did not answer when it was last asked. */
  silent: boolean;
  /** It is asked beside the readings now. */
  probing: boolean;
}

export interface RouterCountersOptions {
  readonly keys: KeyRing;
  /** `http://host:port` of the routers' internal listeners; every address of the host is a router. */
  readonly peers: string;
  readonly log: Log;
  /** How long a reading waits for a router. Default 2,000. */
  readonly timeoutMs?: number;
  /** Finds the addresses of a host. Default: as this machine looks names up. */
  readonly addressesOf?: (host: string) => Promise<readonly LookupAddress[]>;
}

export function routerCounters(options: RouterCountersOptions): RouterCounters {
  const { timeoutMs = READ_TIMEOUT_MS, addressesOf = (host) => lookup(host, { all: true }) } = options;
  const { hostname, port, protocol } = new URL(options.peers);
  const peers = new Map<string, Peer>();
  let failures = 0;

  const origins = async (): Promise<string[]> => {
    const found = await addressesOf(hostname.replace(/^\[|\]$/g, ""));
    return [
      ...new Set(
        found.map(({ address, family }) => `${protocol}//${family === 6 ? `[${address}]` : address}:${port}`),
      ),
    ];
  };
  const peerOf = (origin: string): Peer => {
    const { keys } = options;
    const peer = peers.get(origin) ?? {
      client: signedClient({
        keys,
        origin,
        audience: AUDIENCE,
        unavailable: "connection_refused",
        connections: 2,
      }),
      unused: 0,
      silent: false,
      probing: false,
    };
    peer.unused = 0;
    peers.set(origin, peer);
    return peer;
  };
  const ask = async (peer: Peer, target: string): Promise<RevisionCounters> => {
    try {
      const reply = await peer.client.getJson(target, RevisionCounters, { timeoutMs });
      peer.silent = false;
      return reply;
    } catch (error) {
      peer.silent = true;
      throw error;
    }
  };
  /** Asks for nobody's counters, only whether it answers again. */
  const probe = (peer: Peer): void => {
    if (peer.probing) return;
    peer.probing = true;
    ask(peer, `${COUNTERS_PATH}?uid=none`)
      .catch(() => undefined)
      .finally(() => {
        peer.probing = false;
      });
  };
  const warn = (error: unknown): void => {
    failures += 1;
    if (failures === 1 || failures % 60 === 0)
      options.log.warn("Cannot read a router's counters; releases go on with those of the others", {
        error,
        failures,
      });
  };
  return {
    read: async (uids) => {
      const target = `${COUNTERS_PATH}?${uids.map((uid) => `uid=${encodeURIComponent(uid)}`).join("&")}`;
      try {
        const all = await origins();
        forgetUnused(peers);
        const found = all.map(peerOf);
        const silent = found.filter((peer) => peer.silent);
        const replies = await Promise.allSettled(
          found.filter((peer) => !peer.silent).map((peer) => ask(peer, target)),
        );
        for (const peer of silent) probe(peer);
        const failed = replies.find((reply) => reply.status === "rejected");
        if (failed) warn(failed.reason);
        else if (silent.length === 0) failures = 0;
        return replies.flatMap((reply) => (reply.status === "fulfilled" ? [reply.value] : []));
      } catch (error) {
        warn(error);
        return [];
      }
    },
    close: async () => {
      await Promise.all([...peers.values()].map(({ client }) => client.close()));
    },
  };
}

function forgetUnused(peers: Map<string, Peer>): void {
  for (const [origin, peer] of peers) {
    peer.unused += 1;
    if (peer.unused <= FORGET_AFTER) continue;
    peers.delete(origin);
    void peer.client.close();
  }
}
