import { join } from "node:path";
import type { Daemon } from "./daemons.ts";
import { type Layout, NETWORK, NODE_NAME, PAUSE_IMAGE } from "./layout.ts";

const ETCD = "http://127.0.0.1:2379";

/** Options with values as `--name=value`. */
const options = (values: Readonly<Record<string, string | number | boolean>>): string[] =>
  Object.entries(values).map(([name, value]) => `--${name}=${value}`);

/** What the API server needs: the store and the container runtime can start at once. */
export const storeAndRuntime = ({ state }: Layout, bin: string): Daemon[] => [
  {
    name: "etcd",
    command: join(bin, "etcd"),
    // The cluster does not outlive the machine, so nothing waits for the disk.
    args: options({
      "data-dir": join(state, "etcd"),
      "unsafe-no-fsync": true,
      "listen-client-urls": ETCD,
      "advertise-client-urls": ETCD,
      "listen-peer-urls": "http://127.0.0.1:2380",
    }),
  },
  { name: "containerd", command: "containerd", args: ["-c", join(state, "containerd.toml")] },
];

export const apiServer = ({ pki }: Layout, bin: string): Daemon => ({
  name: "apiserver",
  command: join(bin, "kube-apiserver"),
  args: options({
    "etcd-servers": ETCD,
    "advertise-address": NETWORK.node,
    "secure-port": 6443,
    "service-cluster-ip-range": NETWORK.services,
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction",
    "allow-privileged": true,
    "client-ca-file": join(pki, "ca.crt"),
    "tls-cert-file": join(pki, "apiserver.crt"),
    "tls-private-key-file": join(pki, "apiserver.key"),
    "service-account-issuer": "https://kubernetes.default.svc",
    "service-account-key-file": join(pki, "sa.pub"),
    "service-account-signing-key-file": join(pki, "sa.key"),
    "kubelet-client-certificate": join(pki, "admin.crt"),
    "kubelet-client-key": join(pki, "admin.key"),
    "kubelet-certificate-authority": join(pki, "ca.crt"),
    "kubelet-preferred-address-types": "InternalIP",
    "requestheader-client-ca-file": join(pki, "ca.crt"),
    "requestheader-allowed-names": "front-proxy",
    "requestheader-username-headers": "X-Remote-User",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "proxy-client-cert-file": join(pki, "front-proxy.crt"),
    "proxy-client-key-file": join(pki, "front-proxy.key"),
    "enable-aggregator-routing": true,
  }),
});

/** What starts once the API server answers. */
export const nodeAndControllers = (layout: Layout, bin: string): Daemon[] => {
  const { state, pki, kubeconfig } = layout;
  return [
    {
      name: "controller-manager",
      command: join(bin, "kube-controller-manager"),
      args: options({
        kubeconfig,
        "service-account-private-key-file": join(pki, "sa.key"),
        "root-ca-file": join(pki, "ca.crt"),
        "use-service-account-credentials": true,
        "leader-elect": false,
        "cluster-cidr": NETWORK.pods,
        "allocate-node-cidrs": false,
        "horizontal-pod-autoscaler-sync-period": "5s",
      }),
    },
    {
      name: "scheduler",
      command: join(bin, "kube-scheduler"),
      args: options({ kubeconfig, "leader-elect": false }),
    },
    {
      name: "kubelet",
      command: join(bin, "kubelet"),
      args: options({
        config: join(state, "kubelet.json"),
        kubeconfig: join(state, "kubelet.kubeconfig"),
        "root-dir": join(state, "kubelet"),
        "hostname-override": NODE_NAME,
        "node-ip": NETWORK.node,
      }),
    },
    {
      name: "proxy",
      command: join(bin, "kube-proxy"),
      args: options({
        kubeconfig,
        "proxy-mode": "iptables",
        "cluster-cidr": NETWORK.pods,
        "hostname-override": NODE_NAME,
        "conntrack-max-per-core": 0,
      }),
    },
  ];
};

export const METRICS_PORT = 10_443;
export const POLICY_QUEUE = 100;
const SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount";

/** What a cluster has beside Kubernetes itself, as processes of the node. `policyToken`: a folder with `token` and `ca.crt`. */
export const addOnDaemons = (layout: Layout, bin: string, policyToken: string): Daemon[] => {
  const { state, kubeconfig } = layout;
  return [
    {
      name: "metrics-server",
      command: join(bin, "metrics-server"),
      args: options({
        kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "kubelet-insecure-tls": true,
        "kubelet-preferred-address-types": "InternalIP",
        "secure-port": METRICS_PORT,
        "cert-dir": join(state, "metrics"),
        "metric-resolution": "10s",
        "kubelet-request-timeout": "5s",
      }),
    },
    {
      // It reads in-cluster configuration only, so it gets a /run of its own.
      name: "network-policies",
      command: "unshare",
      args: [
        "-m",
        "sh",
        "-ec",
        `mount -t tmpfs policies /run; mkdir -p ${SERVICE_ACCOUNT}; cp "$1"/* ${SERVICE_ACCOUNT}/; shift; exec "$@"`,
        "sh",
        policyToken,
        join(bin, "kube-network-policies"),
        `--hostname-override=${NODE_NAME}`,
        "--netfilter-bug-1766-fix=false",
        `--nfqueue-id=${POLICY_QUEUE}`,
      ],
      env: { KUBERNETES_SERVICE_HOST: NETWORK.node, KUBERNETES_SERVICE_PORT: "6443" },
    },
    {
      name: "local-path-provisioner",
      command: join(bin, "local-path-provisioner"),
      args: [
        "start",
        ...options({
          kubeconfig,
          config: join(state, "storage", "config.json"),
          namespace: "local-path-storage",
          "configmap-name": "local-path-config",
          "helper-image": PAUSE_IMAGE,
          "helper-pod-file": join(state, "storage", "helper.yaml"),
          "service-account-name": "local-path-provisioner-service-account",
        }),
      ],
    },
  ];
};
