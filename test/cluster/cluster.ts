import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binariesFolder, buildBinaries } from "./binaries.ts";
import { daemonPid, restartDaemon, stopDaemons } from "./daemons.ts";
import { importArchive, nodeImages } from "./images.ts";
import { clusterLayout, type Layout } from "./layout.ts";
import { withMachineLock } from "../machine-lock.ts";
import { ensurePrerequisites } from "./prerequisites.ts";
import { isHealthy, startCluster } from "./start-cluster.ts";
import { hasRemains, stopCluster } from "./stop-cluster.ts";

/** Names a cluster that is there already: the tests then start and stop none. */
export const FOREIGN_KUBECONFIG = "ISOTOPE_CLUSTER_KUBECONFIG";

const SILENCE_MS = 90_000;
const POLL_MS = 500;

export type NodePart =
  | "etcd"
  | "containerd"
  | "apiserver"
  | "controller-manager"
  | "scheduler"
  | "kubelet"
  | "proxy"
  | "metrics-server"
  | "network-policies"
  | "local-path-provisioner";

/** The cluster that tests run against. */
export interface Cluster {
  /** Path of an administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** The helm to use. */
  readonly helm: string;
  /** Whether it is this machine's own test cluster; the rest works only there. */
  readonly own: boolean;
  /** Imports OCI or docker archives into the node. Images that it has by name (`ref`) are passed over. */
  importImages(archives: readonly { ref: string; archive: string }[]): Promise<void>;
  /** Ends a part of the node; the cluster lives on without it. */
  stopPart(name: NodePart, signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again. */
  startPart(name: NodePart): void;
}

export interface UpOptions {
  /** Install missing Debian packages; default: with CI=true. */
  readonly install?: boolean;
  readonly log?: (line: string) => void;
}

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/**
 * Makes sure that the test cluster runs, and says whether it did already. What is left of one that does not answer is
 * removed first. Throws an error that lists what this machine lacks.
 */
export async function up(options: UpOptions = {}): Promise<{ cluster: Cluster; wasUp: boolean }> {
  const { install = process.env["CI"] === "true", log = say } = options;
  ensurePrerequisites({ install });
  const layout = clusterLayout();
  return withMachineLock(layout.cache, async () => {
    if (await becomesHealthy(layout)) return { cluster: ownCluster(), wasUp: true };
    if (await hasRemains(layout)) await stopCluster(layout);
    const bin = await buildBinaries(layout.cache, log);
    await startCluster(layout, bin, log);
    return { cluster: ownCluster(), wasUp: false };
  });
}

/** A test may have stopped a part for a while; only a cluster that stays silent is taken for a ruin. */
async function becomesHealthy(layout: Layout): Promise<boolean> {
  const deadline = Date.now() + SILENCE_MS;
  while (!(await isHealthy(layout))) {
    if (daemonPid(layout.state, "containerd") === undefined || Date.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** Stops this machine's test cluster and removes all of it but the cached binaries; does nothing when there is none. */
export async function down(): Promise<void> {
  const layout = clusterLayout();
  await withMachineLock(layout.cache, () => stopCluster(layout));
}

/** The cluster of this run: the one that `$ISOTOPE_CLUSTER_KUBECONFIG` names, else this machine's own. */
export function currentCluster(env: NodeJS.ProcessEnv = process.env): Cluster {
  const foreign = env[FOREIGN_KUBECONFIG];
  return foreign === undefined || foreign === "" ? ownCluster() : foreignCluster(foreign);
}

function ownCluster(): Cluster {
  const layout = clusterLayout();
  return {
    kubeconfig: layout.kubeconfig,
    helm: join(binariesFolder(layout.cache), "helm"),
    own: true,
    importImages: async (archives) => {
      const present = await nodeImages(layout);
      for (const { ref, archive } of archives)
        if (!present.includes(ref)) await importArchive(layout, archive);
    },
    stopPart: (name, signal) => stopDaemons(layout.state, [name], signal),
    startPart: (name) => restartDaemon(layout.state, name),
  };
}

function foreignCluster(kubeconfig: string): Cluster {
  const cannot = (what: string): Error =>
    new Error(`Cannot ${what} on the cluster of "${kubeconfig}": only the test cluster's node is ours`);
  return {
    kubeconfig,
    helm: "helm",
    own: false,
    importImages: async () => {
      throw cannot("import images");
    },
    stopPart: async (name) => {
      throw cannot(`stop ${name}`);
    },
    startPart: (name) => {
      throw cannot(`start ${name}`);
    },
  };
}
