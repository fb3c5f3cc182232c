import type { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { type KubeClient, kubeClientOf } from "../kube/client.ts";
import { type KubeConnection, loadKubeConnection } from "../kube/connection.ts";
import { type Connection, findLocalPlatform, findStartingPlatform } from "../net/local-connection.ts";
import { CliError, type GlobalValues } from "./command.ts";
import { clusterOps } from "./cluster-ops.ts";
import { type OpsClient, opsClient } from "./ops-client.ts";

/** A platform that was just started is waited for, since `isotope start &` returns at once. */
const START_TIMEOUT_MS = 60_000;
const START_POLL_MS = 50;

/** Where a command runs and what it may use; tests build one around buffers. */
export interface CliContext {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  /** Whether stdout is a terminal: colours and live views only then. */
  readonly interactive: boolean;
  readonly verbosity: number;
  /** Folder of a local platform's state, as given; nothing: to be found. */
  readonly home: string | undefined;
  /** Whether the user named a kubeconfig or context, so that no local platform is meant. */
  readonly clusterChosen: boolean;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Results, on stdout. */
  out(text: string): void;
  /** Remarks and progress, one line on stderr. */
  note(line: string): void;
  kube(): Promise<KubeClient>;
  namespace(): Promise<string>;
  /** The running local platform that the command works on, if it does not work on a cluster. */
  platform(): Connection | undefined;
  /** Where functions are called: the local platform's router, else what the environment names; "" when unknown. */
  routerUrl(): string;
  /** The same context for the local platform in another folder. */
  withHome(home: string): CliContext;
  ops(): Promise<OpsClient>;
}

export interface Surroundings {
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  stdin: Readable;
  interactive: boolean;
  signal: AbortSignal;
  write(text: string): void;
  writeError(text: string): void;
}

/** The context of one command run. */
export function createContext(surroundings: Surroundings, globals: GlobalValues): CliContext {
  const { cwd, env } = surroundings;
  let connection: Promise<KubeConnection> | undefined;
  let client: Promise<KubeClient> | undefined;
  const platform = (): Connection | undefined =>
    globals.kubeconfig || globals["kube-context"]
      ? undefined
      : findLocalPlatform({ home: globals.home, cwd, env });
  const started = async (): Promise<Connection | undefined> => {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (
      !globals.kubeconfig &&
      !globals["kube-context"] &&
      findStartingPlatform({ home: globals.home, cwd, env }) &&
      performance.now() < deadline
    ) {
      surroundings.signal.throwIfAborted();
      await setTimeout(START_POLL_MS);
    }
    return platform();
  };
  const load = async (): Promise<KubeConnection> =>
    loadKubeConnection({
      kubeconfig: globals.kubeconfig ?? (await started())?.kubeconfig,
      context: globals["kube-context"],
      env: { ...env },
    });
  const connect = (): Promise<KubeConnection> => {
    connection ??= load().catch((error: unknown) => {
      if (globals.kubeconfig || globals["kube-context"]) throw error;
      throw new CliError(
        "No platform found: start one with `isotope start` or `isotope dev`, or give --kubeconfig for a cluster",
        { cause: error },
      );
    });
    return connection;
  };
  return {
    cwd,
    env,
    stdin: surroundings.stdin,
    interactive: surroundings.interactive,
    verbosity: globals.verbosity,
    home: globals.home ?? env.ISOTOPE_HOME,
    clusterChosen: Boolean(globals.kubeconfig ?? globals["kube-context"]),
    signal: surroundings.signal,
    out: (text) => surroundings.write(text),
    note: (line) => surroundings.writeError(`${line}\n`),
    platform,
    routerUrl: () => platform()?.routerUrl ?? env.ISOTOPE_ROUTER_URL ?? env.FISSION_ROUTER_URL ?? "",
    withHome: (home) => createContext(surroundings, { ...globals, home }),
    kube: () => {
      client ??= connect().then(kubeClientOf);
      return client;
    },
    namespace: async () =>
      globals.namespace ??
      env.ISOTOPE_NAMESPACE ??
      env.FISSION_DEFAULT_NAMESPACE ??
      (await connect()).namespace,
    ops: async () => {
      const url = env.ISOTOPE_OPS_URL ?? (await started())?.opsUrl;
      const connection = await connect();
      if (!url) return clusterOps(connection, env.ISOTOPE_PLATFORM_NAMESPACE);
      return opsClient({
        url,
        headers: async () => {
          const authorization = await connection.authorization();
          return authorization ? { authorization } : {};
        },
      });
    },
  };
}
