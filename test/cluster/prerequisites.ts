import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { installPackages } from "../install-packages.ts";

/** What the cluster needs of the system: a file, or a program on PATH, and the Debian package that has it. */
const DEBIAN_PACKAGES: Readonly<Record<string, string>> = {
  containerd: "containerd",
  ctr: "containerd",
  runc: "runc",
  "/usr/lib/cni/bridge": "containernetworking-plugins",
  iptables: "iptables",
  conntrack: "conntrack",
  ip: "iproute2",
  nsenter: "util-linux",
  mount: "mount",
  "/bin/busybox": "busybox-static",
  // For the images of the platform.
  buildah: "buildah",
};
const GO_MAJOR = 1;
const GO_MINOR = 21;

/** Directories of system programs are not on every PATH. */
export const SYSTEM_PATH = [
  ...new Set([...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"]),
].join(delimiter);

const present = (what: string): boolean =>
  what.startsWith("/")
    ? existsSync(what)
    : SYSTEM_PATH.split(delimiter).some((folder) => existsSync(join(folder, what)));

/** Debian packages that are not installed. */
export function missingPackages(): string[] {
  const missing = Object.entries(DEBIAN_PACKAGES).filter(([what]) => !present(what));
  return [...new Set(missing.map(([, name]) => name))];
}

/** Why this machine cannot run the cluster, each as one sentence; empty when it can. */
export function obstacles(): string[] {
  if (process.platform !== "linux") return [`it needs Linux, this is ${process.platform}`];
  const found: string[] = [];
  if (process.getuid?.() !== 0) found.push("it needs root: network namespaces, mounts and cgroups");
  const go = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8" });
  const [major = 0, minor = 0] = (go.stdout ?? "").replace(/^go/, "").split(".").map(Number);
  if (go.status !== 0) found.push("it needs Go, which builds Kubernetes: no `go` is on PATH");
  else if (major < GO_MAJOR || (major === GO_MAJOR && minor < GO_MINOR))
    found.push(`it needs Go >= ${GO_MAJOR}.${GO_MINOR}, this is ${go.stdout.trim()}`);
  const missing = missingPackages();
  if (missing.length > 0)
    found.push(`it needs Debian packages: apt-get install --no-install-recommends ${missing.join(" ")}`);
  return found;
}

/**
 * Makes sure that the cluster can run here; throws an error that lists what is missing. `install`: install the missing
 * Debian packages first.
 */
export function ensurePrerequisites(options: { install: boolean }): void {
  const missing = missingPackages();
  if (options.install && missing.length > 0 && process.platform === "linux" && process.getuid?.() === 0)
    installPackages(missing);
  const found = obstacles();
  if (found.length > 0) throw new Error(`Cannot run the test cluster here: ${found.join("; ")}`);
}
