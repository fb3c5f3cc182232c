import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Layout, NETWORK, PAUSE_IMAGE } from "./layout.ts";

/** Under the root of every cgroup hierarchy; what another kubelet of the machine has is elsewhere. */
export const CGROUP = "isotope-cluster";
export const DNS_ADDRESS = "10.96.0.10";

const cni = (state: string) => ({
  cniVersion: "1.0.0",
  name: "isotope",
  plugins: [
    {
      type: "bridge",
      bridge: "cni0",
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: NETWORK.pods }]],
        routes: [{ dst: "0.0.0.0/0" }],
        dataDir: join(state, "ipam"),
      },
    },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
});

/** `restrict_oom_score_adj`: without CAP_SYS_RESOURCE every sandbox would die with "can't get final child's PID from pipe: EOF". */
const containerd = ({ state, containerdSocket }: Layout): string => `version = 2
root = "${state}/containerd/root"
state = "${state}/containerd/run"
[grpc]
  address = "${containerdSocket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${state}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`;

/** Kubernetes 1.34 is the last that runs on cgroup v1 and on containerd 1.6. */
const kubelet = ({ state, pki, containerdSocket }: Layout) => ({
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  cgroupDriver: "cgroupfs",
  cgroupRoot: `/${CGROUP}`,
  failSwapOn: false,
  failCgroupV1: false,
  enforceNodeAllocatable: [],
  clusterDNS: [DNS_ADDRESS],
  clusterDomain: "cluster.local",
  resolvConf: "",
  containerRuntimeEndpoint: `unix://${containerdSocket}`,
  volumePluginDir: join(state, "volume-plugins"),
  imageGCHighThresholdPercent: 100,
  evictionHard: {
    "memory.available": "100Mi",
    "nodefs.available": "1%",
    "imagefs.available": "1%",
    "nodefs.inodesFree": "1%",
  },
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: join(pki, "ca.crt") },
  },
  authorization: { mode: "Webhook" },
  tlsCertFile: join(pki, "kubelet.crt"),
  tlsPrivateKeyFile: join(pki, "kubelet.key"),
  nodeStatusUpdateFrequency: "2s",
  volumeStatsAggPeriod: "10s",
  podPidsLimit: 256,
  maxPods: 250,
  // Pods of a test come by the dozen.
  serializeImagePulls: false,
  registryPullQPS: 0,
  eventRecordQPS: 0,
  kubeAPIQPS: 100,
  kubeAPIBurst: 200,
});

/** Writes the configuration of containerd, its network plugins and the kubelet. */
export function writeConfiguration(layout: Layout): void {
  const { state } = layout;
  mkdirSync(join(state, "cni"), { recursive: true });
  writeFileSync(join(state, "cni", "10-bridge.conflist"), JSON.stringify(cni(state)));
  writeFileSync(join(state, "containerd.toml"), containerd(layout));
  writeFileSync(join(state, "kubelet.json"), JSON.stringify(kubelet(layout)));
}
