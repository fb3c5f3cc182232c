import { lookup } from "node:dns/promises";
import { COUNTERS_PATH, RevisionCounters } from "../../api/wire/counters.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";

/** Reads what routers count. */
export interface RouterCounters {
  /** The counters of these functions in every router that answers in time. */
  read(uids: readonly string[]): Promise<RevisionCounters[]>;
  close(): Promise<void>;
}

const READ_TIMEOUT_MS = 2_000;
const AUDIENCE = "router-internal";
/** Connections to routers that are gone are closed after so many readings without them. */
const FORGET_AFTER = 10;

/**
 * `peers` is `http://host:port` of the routers' internal listeners; every address of the host is a router. One that does not answer is
 * left out: what it counted is seen when it answers again.
 */
export function routerCounters(options: { keys: KeyRing; peers: string; log: Log }): RouterCounters {
  const { hostname, port, protocol } = new URL(options.peers);
  const clients = new Map<string, { client: SignedClient; unused: number }>();
  let failures = 0;

  const origins = async (): Promise<string[]> => {
    const found = await lookup(hostname.replace(/^\[|\]$/g, ""), { all: true });
    return [
      ...new Set(
        found.map(({ address, family }) => `${protocol}//${family === 6 ? `[${address}]` : address}:${port}`),
      ),
    ];
  };
  const clientOf = (origin: string): SignedClient => {
    const known = clients.get(origin) ?? {
      client: signedClient({
        keys: options.keys,
        origin,
        audience: AUDIENCE,
        unavailable: "connection_refused",
        connections: 2,
      }),
      unused: 0,
    };
    known.unused = 0;
    clients.set(origin, known);
    return known.client;
  };
  const forget = (): void => {
    for (const [origin, known] of clients) {
      known.unused += 1;
      if (known.unused <= FORGET_AFTER) continue;
      clients.delete(origin);
      void known.client.close();
    }
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
        forget();
        const replies = await Promise.allSettled(
          all.map((origin) =>
            clientOf(origin).getJson(target, RevisionCounters, { timeoutMs: READ_TIMEOUT_MS }),
          ),
        );
        const failed = replies.find((reply) => reply.status === "rejected");
        if (failed) warn(failed.reason);
        else failures = 0;
        return replies.flatMap((reply) => (reply.status === "fulfilled" ? [reply.value] : []));
      } catch (error) {
        warn(error);
        return [];
      }
    },
    close: async () => {
      await Promise.all([...clients.values()].map(({ client }) => client.close()));
    },
  };
}
