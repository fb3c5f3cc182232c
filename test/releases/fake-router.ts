import fastify from "fastify";
import {
  COUNTERS_PATH,
  LATENCY_BUCKET_BOUNDS_MS,
  type RevisionCount,
  type RevisionCounters,
} from "../../api/wire/counters.ts";
import type { KeyRing } from "../../net/keys.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";

/** How a revision behaves: requests per second at 100 %, share that fails, latency of each request. */
export interface Behaviour {
  readonly failing?: number;
  readonly latencyMs?: number;
  readonly specialiseFailing?: number;
}

/** The far side of the controller: routers' counters, as traffic would have made them. */
export interface FakeRouter {
  readonly port: number;
  /** Lets so many requests to a revision end. */
  serve(side: { uid: string; revision: string }, requests: number, behaviour?: Behaviour): void;
  /** A new process: everything begins at 0. */
  restart(): void;
  reads(): number;
  /** From now on questions are left without an answer, or not any more. */
  hang(hanging: boolean): void;
  stop(): Promise<void>;
}

export async function startFakeRouter(
  keys: KeyRing,
  { host = "127.0.0.1", port = 0 } = {},
): Promise<FakeRouter> {
  let state = freshState();
  let answering = Promise.withResolvers<void>();
  answering.resolve();
  let reads = 0;
  const app = fastify();
  requireSignedCalls(app, { verifier: verifier(keys, "router-internal") });
  app.get(COUNTERS_PATH, async (request): Promise<RevisionCounters> => {
    reads += 1;
    await answering.promise;
    const wanted = new URL(request.url, "http://router").searchParams.getAll("uid");
    return {
      router: state.router,
      startedAt: state.startedAt,
      bounds: [...LATENCY_BUCKET_BOUNDS_MS],
      revisions: [...state.revisions.values()].filter(({ uid }) => wanted.includes(uid)),
    };
  });
  await app.listen({ host, port });
  const address = app.server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    serve: (side, requests, { failing = 0, latencyMs = 10, specialiseFailing = 0 } = {}) => {
      const count = state.revisions.get(side.revision) ?? emptyCount(side);
      state.revisions.set(side.revision, count);
      const bucket = LATENCY_BUCKET_BOUNDS_MS.findIndex((bound) => latencyMs <= bound);
      for (let i = 0; i < requests; i += 1) {
        const n = count.requests;
        count.requests += 1;
        // Evenly, so that a share is met exactly.
        if (Math.floor((n + 1) * failing) > Math.floor(n * failing)) count.serverErrors += 1;
        if (Math.floor((n + 1) * specialiseFailing) > Math.floor(n * specialiseFailing))
          count.platformErrors += 1;
        // Some spread: a bucket down, the one itself, a bucket up.
        const at = bucket + ((n % 3) - 1);
        count.buckets[at] = (count.buckets[at] ?? 0) + 1;
      }
    },
    restart: () => {
      state = freshState();
    },
    reads: () => reads,
    hang: (hanging) => {
      answering.resolve();
      if (hanging) answering = Promise.withResolvers();
    },
    stop: () => {
      answering.resolve();
      return app.close();
    },
  };
}

const freshState = () => ({
  router: crypto.randomUUID(),
  startedAt: new Date().toISOString(),
  revisions: new Map<string, RevisionCount>(),
});

const emptyCount = ({ uid, revision }: { uid: string; revision: string }): RevisionCount => ({
  namespace: "default",
  function: "any",
  uid,
  revision,
  since: new Date().toISOString(),
  requests: 0,
  serverErrors: 0,
  clientErrors: 0,
  platformErrors: 0,
  buckets: LATENCY_BUCKET_BOUNDS_MS.map(() => 0).concat(0),
});
