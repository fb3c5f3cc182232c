import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { AcquireReply, WarmReply } from "../../api/wire/executor.ts";
import type { KubeClient } from "../../kube/client.ts";
import { joinGroup } from "../../kube/lease.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import type { KeyRing } from "../../net/keys.ts";
import { verifier } from "../../net/sign.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { podTokens } from "../../net/pod-token.ts";
import type { ArchiveSource } from "./archives.ts";
import { createExecutor, type Executor, type FaultPoint } from "./executor.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { kubeCluster } from "./kube-cluster.ts";
import { createExecutorServer, type ExecutorService, FORWARDED_QUERY, OPEN_PATHS } from "./server.ts";
import type { ExecutorSettings } from "./settings.ts";
import { createShardedExecutor, type ShardedExecutor } from "./sharded-executor.ts";

export interface ExecutorProcessOptions {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly archives: ArchiveSource;
  readonly settings: ExecutorSettings;
  /** Where the API for routers listens; port 0 = a free one. */
  readonly host: string;
  readonly port: number;
  readonly log: ExecutorLog;
  /** Given: several executors share the environments. Absent: this one minds all. */
  readonly group?: ExecutorGroup;
  readonly onFaultPoint?: (point: FaultPoint) => void;
}

export interface ExecutorGroup {
  /** Namespace of the Leases. */
  readonly namespace: string;
  /** `ip:port` at which the other executors reach this one; also its identity. */
  readonly address: string;
  /** A member whose Lease was not renewed for so long counts as dead. */
  readonly leaseMs: number;
  /** Time that others have to let go of an environment before this one takes it. */
  readonly handoverMs: number;
}

export interface ExecutorProcess {
  /** Whether pods are adopted and pools fill. */
  ready(): boolean;
  /** What it holds; undefined while environments change hands. */
  snapshot(): ReturnType<Executor["snapshot"]> | undefined;
  /** Resolves to the API's origin once it listens; pods are adopted while the first calls wait. */
  start(): Promise<string>;
  /** Stops listening, then the executor. Pods stay and are adopted by the next process. */
  stop(): Promise<void>;
}

/** Identity that callers sign for. */
export const EXECUTOR_AUDIENCE = "executor";
const GROUP = "executor";
const REPORT_TIMEOUT_MS = 5_000;
const REPLY_GRACE_MS = 2_000;

/** The executor with its API: one process on a cluster, a part of the control plane locally. */
export function createExecutorProcess(options: ExecutorProcessOptions): ExecutorProcess {
  const { keys, log, group } = options;
  const create = (owns?: (environment: string) => boolean) =>
    createExecutor({
      cluster: kubeCluster({ client: options.client, log, fetcherImage: options.settings.fetcherImage }),
      archives: options.archives,
      tokensOf: (namespace, name) => podTokens(keys.masters(), namespace, name),
      settings: options.settings,
      log,
      ...(owns ? { owns } : {}),
      ...(options.onFaultPoint ? { onFaultPoint: options.onFaultPoint } : {}),
    });
  const guard = (app: FastifyInstance) => {
    requireSignedCalls(app, { verifier: verifier(keys, EXECUTOR_AUDIENCE), open: OPEN_PATHS });
    const onUnexpected = (error: unknown) => log.error("a call failed unexpectedly", { error });
    app.setErrorHandler(fastifyErrorHandler({ debug: true, onUnexpected }));
  };
  const part = group ? groupMember(options, group, create) : alone(create());
  const server = createExecutorServer({
    executor: part.service,
    host: options.host,
    port: options.port,
    guard,
  });
  return {
    ready: () => part.service.ready(),
    snapshot: () => part.service.snapshot(),
    start: async () => {
      const origin = await server.start();
      part.start().catch((error: unknown) => log.error("the executor cannot start", { error }));
      return origin;
    },
    stop: async () => {
      await Promise.all([part.stop(), server.stop()]);
    },
  };
}

interface Part {
  readonly service: ExecutorService;
  start(): Promise<void>;
  stop(): Promise<void>;
}

function alone(executor: Executor): Part {
  return {
    service: {
      acquire: (request, _forwarded, signal) => executor.acquire(request, signal),
      warm: (request, _forwarded, signal) => executor.warm(request, signal),
      suspect: (report) => executor.suspect(report),
      load: (report) => executor.load(report),
      ready: () => executor.ready,
      snapshot: () => executor.snapshot(),
      metrics: () => executor.metrics(),
    },
    start: () => executor.start(),
    stop: () => executor.stop(),
  };
}

function groupMember(
  options: ExecutorProcessOptions,
  { namespace, address, leaseMs, handoverMs }: ExecutorGroup,
  create: (owns: (environment: string) => boolean) => Executor,
): Part {
  const { log } = options;
  const clients = new Map<string, SignedClient>();
  const clientOf = (member: string): SignedClient => {
    let client = clients.get(member);
    if (!client) {
      client = signedClient({
        keys: options.keys,
        origin: `http://${addressOf(member)}`,
        audience: EXECUTOR_AUDIENCE,
        unavailable: "executor_unavailable",
      });
      clients.set(member, client);
    }
    return client;
  };
  const tell = (member: string, path: string, report: unknown) => {
    clientOf(member)
      .postJson(`${path}?${FORWARDED_QUERY}`, report, z.unknown(), { timeoutMs: REPORT_TIMEOUT_MS })
      .catch((error: unknown) => log.debug("cannot pass a report on", { member, error }));
  };
  const service: ShardedExecutor = createShardedExecutor({
    self: identityOf(address),
    create,
    handoverMs,
    log,
    forward: (member, request, signal) =>
      clientOf(member).postJson(`/v2/acquire?${FORWARDED_QUERY}`, request, AcquireReply, {
        timeoutMs: request.waitMs + REPLY_GRACE_MS,
        ...(signal ? { signal } : {}),
      }),
    forwardWarm: (member, request, signal) =>
      clientOf(member).postJson(`/v2/warm?${FORWARDED_QUERY}`, request, WarmReply, {
        timeoutMs: request.waitMs + REPLY_GRACE_MS,
        ...(signal ? { signal } : {}),
      }),
    forwardSuspect: (member, report) => tell(member, "/v2/suspect", report),
    forwardLoad: (member, report) => tell(member, "/v2/load", report),
  });
  let membership: ReturnType<typeof joinGroup> | undefined;
  return {
    service,
    start: async () => {
      membership = joinGroup({
        client: options.client,
        namespace,
        group: GROUP,
        identity: identityOf(address),
        durationMs: leaseMs,
        onChange: service.membersChanged,
        onError: (error) => log.warn("trouble with the executors' Leases", { error }),
      });
    },
    stop: async () => {
      // Environments are let go before the Lease, so that nobody takes one that is still held.
      await service.stop();
      await membership?.stop();
      await Promise.all([...clients.values()].map((client) => client.close()));
    },
  };
}

/** An address as part of a Lease's name, and back: a name may hold no colon. */
const identityOf = (address: string): string => address.replace(/:(\d+)$/, "-$1");
const addressOf = (identity: string): string => identity.replace(/-(\d+)$/, ":$1");
