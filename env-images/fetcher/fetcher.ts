import { setTimeout as sleep } from "node:timers/promises";
import { createListener } from "../../engine/router/http/listener.ts";
import { createUpstreams } from "../../engine/router/http/upstream.ts";
import { fetcherHandler } from "./handler.ts";
import { look } from "./neighbour.ts";
import { genericPod, inFlightOf } from "./pod.ts";
import type { FetcherSettings } from "./settings.ts";

export interface Fetcher {
  /** Port that it listens on. */
  readonly port: number;
  /** Refuses what is new and lets what runs finish. */
  drain(): void;
  /** Resolves when a drain is over, whoever asked for it. */
  readonly drained: Promise<void>;
  close(): Promise<void>;
}

/** Runtimes seldom say how long they keep an idle connection; a new one on loopback costs less than a broken request. */
const IDLE_CONNECTION_MS = 1_500;
const MOST_CONNECTIONS = 16_384;
const LOOK_MS = { first: 25, most: 500, timeout: 1_000 };
/** What the router adds to a request comes on top of what it lets in. */
const LIMITS = {
  maxHeaderBytes: 65_535,
  maxHeaders: 256,
  maxTargetBytes: 65_535,
  bodyIdleTimeoutMs: 120_000,
  keepAliveTimeoutMs: 300_000,
};

/** Starts the fetcher of a pod of a foreign image. */
export async function startFetcher(
  settings: FetcherSettings,
  log: (message: string) => void,
): Promise<Fetcher> {
  const pod = genericPod(settings.podUid, settings.shared);
  const upstreams = createUpstreams({ maxConnections: MOST_CONNECTIONS, idleTimeoutMs: IDLE_CONNECTION_MS });
  const { host, port } = settings.neighbour;
  const drained = Promise.withResolvers<void>();
  let ready = false;
  const closing = new AbortController();
  const lookDrained = () => {
    if (pod.draining && inFlightOf(pod) === 0 && !pod.ownConnections) drained.resolve();
  };
  const drain = () => {
    pod.draining = true;
    lookDrained();
  };
  const handler = fetcherHandler({
    pod,
    settings,
    runtime: upstreams.at(host, port),
    log,
    ready: () => ready,
    drain,
    drained: drained.promise,
    onEnd: lookDrained,
  });
  const listener = createListener(handler, { upstreams, limits: LIMITS });
  const bound = await listener.listen(settings.host, settings.port);
  const awaitRuntime = async () => {
    let pauseMs = LOOK_MS.first;
    while ((await look(host, port, LOOK_MS.timeout)) !== "listens") {
      if (closing.signal.aborted) return;
      await sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 2, LOOK_MS.most);
    }
    ready = true;
  };
  void awaitRuntime();
  return {
    port: bound,
    drain,
    drained: drained.promise,
    close: async () => {
      closing.abort();
      await listener.close(0);
      upstreams.close();
    },
  };
}
