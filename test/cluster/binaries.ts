import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/images/run-command.ts";

const MODULES = join(import.meta.dirname, "binaries");
const KUBERNETES = "k8s.io/kubernetes";

interface Build {
  /** Folder of the module below `binaries`. */
  readonly module: string;
  readonly packages: readonly string[];
  /** Name of the program, where it is not the package's. */
  readonly out?: string;
}

/** Builds that share most of their code come together; the largest first. */
const BUILDS: readonly Build[] = [
  {
    module: ".",
    packages: ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"].map(
      (name) => `${KUBERNETES}/cmd/${name}`,
    ),
  },
  { module: ".", packages: ["./coredns", "helm.sh/helm/v3/cmd/helm"] },
  { module: ".", packages: ["go.etcd.io/etcd/server/v3"], out: "etcd" },
  { module: ".", packages: ["sigs.k8s.io/kube-network-policies/cmd"], out: "kube-network-policies" },
  { module: "metrics-server", packages: ["sigs.k8s.io/metrics-server/cmd/metrics-server"] },
  { module: "local-path-provisioner", packages: ["github.com/rancher/local-path-provisioner"] },
];

const kubernetesVersion = (): string => {
  const found = /^\s*k8s\.io\/kubernetes v(\S+)/m.exec(readFileSync(join(MODULES, "go.mod"), "utf8"));
  if (!found?.[1])
    throw new Error(`Cannot build Kubernetes: ${join(MODULES, "go.mod")} does not require ${KUBERNETES}`);
  return found[1];
};

/** The folder of the binaries of these versions. */
export function binariesFolder(cache: string): string {
  const hash = createHash("sha256").update(process.arch);
  for (const file of globSync("**/{go.mod,go.sum,*.go}", { cwd: MODULES }).toSorted())
    hash.update(readFileSync(join(MODULES, file)));
  return join(cache, `bin-${kubernetesVersion()}-${hash.digest("hex").slice(0, 12)}`);
}

/**
 * Builds the cluster's programs from the Go module proxy, once per set of versions (some 6 minutes on 2 cores), and gives
 * their folder. Older sets in `cache` are removed.
 */
export async function buildBinaries(cache: string, log: (line: string) => void): Promise<string> {
  const folder = binariesFolder(cache);
  if (existsSync(folder)) return folder;
  const partial = `${folder}.partial`;
  mkdirSync(partial, { recursive: true });
  const version = kubernetesVersion();
  const [major, minor] = version.split(".");
  const variables = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor, gitTreeState: "clean" };
  const flags = Object.entries(variables).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  );
  for (const { module, out, packages } of BUILDS) {
    log(`Building ${out ?? packages.map((name) => name.replace(/.*\//, "")).join(", ")}, once`);
    await runCommand(
      "go",
      [
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        ["-s", "-w", ...flags].join(" "),
        "-o",
        join(partial, out ?? "/"),
        ...packages,
      ],
      { cwd: join(MODULES, module), env: { CGO_ENABLED: "0", GOFLAGS: "-mod=readonly" } },
    );
  }
  renameSync(partial, folder);
  for (const name of readdirSync(cache))
    if (name.startsWith("bin-") && join(cache, name) !== folder)
      rmSync(join(cache, name), { recursive: true });
  return folder;
}
