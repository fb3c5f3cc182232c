import type { KubeClient } from "../../kube/client.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import type { KeyRing } from "../../net/keys.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import type { ArchiveSource } from "./archives.ts";
import { createExecutor, type Executor, type FaultPoint } from "./executor.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { kubeCluster } from "./kube-cluster.ts";
import { podTokens } from "./pod-token.ts";
import { createExecutorServer, OPEN_PATHS } from "./server.ts";
import type { ExecutorSettings } from "./settings.ts";

export interface ExecutorProcessOptions {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly archives: ArchiveSource;
  readonly settings: ExecutorSettings;
  /** Where the API for routers listens; port 0 = a free one. */
  readonly host: string;
  readonly port: number;
  readonly log: ExecutorLog;
  readonly onFaultPoint?: (point: FaultPoint) => void;
}

export interface ExecutorProcess {
  readonly executor: Executor;
  /** Resolves to the API's origin once it listens; pods are adopted while the first calls wait. */
  start(): Promise<string>;
  /** Stops listening, then the executor. Pods stay and are adopted by the next process. */
  stop(): Promise<void>;
}

/** Identity that callers sign for. */
export const EXECUTOR_AUDIENCE = "executor";

/** The executor with its API: one process on a cluster, a part of the control plane locally. */
export function createExecutorProcess(options: ExecutorProcessOptions): ExecutorProcess {
  const { keys, log } = options;
  const executor = createExecutor({
    cluster: kubeCluster({ client: options.client, log }),
    archives: options.archives,
    tokensOf: (namespace, name) => podTokens(keys.masters(), namespace, name),
    settings: options.settings,
    log,
    ...(options.onFaultPoint ? { onFaultPoint: options.onFaultPoint } : {}),
  });
  const server = createExecutorServer({
    executor,
    host: options.host,
    port: options.port,
    guard: (app) => {
      requireSignedCalls(app, { verifier: verifier(keys, EXECUTOR_AUDIENCE), open: OPEN_PATHS });
      app.setErrorHandler(
        fastifyErrorHandler({
          debug: true,
          onUnexpected: (error) => log.error("a call failed unexpectedly", { error }),
        }),
      );
    },
  });
  return {
    executor,
    start: async () => {
      const origin = await server.start();
      executor.start().catch((error: unknown) => log.error("the executor cannot start", { error }));
      return origin;
    },
    stop: async () => {
      await Promise.all([executor.stop(), server.stop()]);
    },
  };
}
