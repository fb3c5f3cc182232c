import { homedir } from "node:os";
import { join } from "node:path";

/**
 * Addresses of the test cluster. They are the same on every machine and of a range kept for benchmarks between
 * networks, so that nothing of a real network is hidden; hence one cluster per machine.
 */
export const NETWORK = {
  name: "isotope-node",
  hostLink: "iso-host",
  nodeLink: "iso-node",
  host: "198.18.0.1",
  node: "198.18.0.2",
  pods: "10.244.0.0/16",
  services: "10.96.0.0/16",
  apiService: "10.96.0.1",
} as const;

export const NODE_NAME = "node1";
export const PAUSE_IMAGE = "isotope.local/busybox:1";

/** Where the test cluster keeps what it builds, and its state while it runs. */
export interface Layout {
  /** Binaries by version; kept over runs. */
  readonly cache: string;
  /** Everything of the running cluster; removed when it goes down. */
  readonly state: string;
  readonly kubeconfig: string;
  readonly containerdSocket: string;
  readonly pki: string;
}

/** The layout of this machine: `$ISOTOPE_CLUSTER_CACHE` and `$ISOTOPE_CLUSTER_STATE` move it. */
export function clusterLayout(env: NodeJS.ProcessEnv = process.env): Layout {
  const state = env["ISOTOPE_CLUSTER_STATE"] ?? "/var/lib/isotope-cluster";
  return {
    cache: env["ISOTOPE_CLUSTER_CACHE"] ?? join(homedir(), ".cache", "isotope-cluster"),
    state,
    kubeconfig: join(state, "admin.kubeconfig"),
    containerdSocket: join(state, "containerd.sock"),
    pki: join(state, "pki"),
  };
}
