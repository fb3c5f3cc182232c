import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "../../scripts/images/run-command.ts";
import { CGROUP } from "./configuration.ts";

/** Made, and mounted on itself, by the first `ip netns add`. */
const NAMED_NETWORKS = "/run/netns";
/** Folders outside the cluster's own that the kubelet, containerd and CNI plugins make, wherever they are told to work. */
const SYSTEM_FOLDERS = [
  "/var/log/pods",
  "/var/log/containers",
  "/var/lib/cni",
  "/var/lib/kubelet",
  "/run/containerd",
  NAMED_NETWORKS,
];
const RECORD = "made-folders.json";

/** Notes which of the system's folders are not there yet: those are the cluster's, and go with it. */
export function recordSystemFolders(state: string): void {
  const made = SYSTEM_FOLDERS.filter((folder) => !existsSync(folder));
  writeFileSync(join(state, RECORD), JSON.stringify(made));
}

export async function removeSystemFolders(state: string): Promise<void> {
  const record = join(state, RECORD);
  if (!existsSync(record)) return;
  const made: string[] = JSON.parse(readFileSync(record, "utf8"));
  for (const folder of made.filter((name) => SYSTEM_FOLDERS.includes(name))) {
    if (folder === NAMED_NETWORKS && existsSync(folder)) {
      // Somebody else's network came meanwhile.
      if (readdirSync(folder).length > 0) continue;
      await runCommand("umount", ["--lazy", folder]).catch(() => undefined);
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** Hierarchies of cgroup v1, or the one of v2. */
const hierarchies = (): string[] =>
  existsSync("/sys/fs/cgroup/cgroup.controllers")
    ? ["/sys/fs/cgroup"]
    : globSync("/sys/fs/cgroup/*/cgroup.procs").map((file) => file.replace(/\/cgroup\.procs$/, ""));

/** Without it all pods together would weigh as much as one process of this machine, and their probes fail while tests are compiled. */
const CPU_SHARES = 10_240;

export function makeCgroups(): void {
  for (const root of hierarchies()) {
    mkdirSync(join(root, CGROUP), { recursive: true });
    const shares = join(root, CGROUP, "cpu.shares");
    if (existsSync(shares)) writeFileSync(shares, String(CPU_SHARES));
  }
}

/** The cluster's cgroups, the innermost first. */
const cgroups = (): string[] =>
  hierarchies()
    .flatMap((root) => globSync(`${CGROUP}/**/cgroup.procs`, { cwd: root }).map((file) => join(root, file)))
    .map((file) => dirname(file))
    .toSorted((a, b) => b.length - a.length);

/** Pids of everything that runs in pods. */
export const podPids = (): number[] => [
  ...new Set(
    cgroups().flatMap((folder) => {
      try {
        return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
      } catch {
        // It went meanwhile, and so did what ran in it.
        return [];
      }
    }),
  ),
];

/** A folder is in use until the last process of it has been waited for, a moment after it was killed. */
const IN_USE_MS = 10_000;

export async function removeCgroups(): Promise<void> {
  const deadline = performance.now() + IN_USE_MS;
  for (const folder of cgroups())
    while (existsSync(folder)) {
      try {
        rmdirSync(folder);
      } catch (error) {
        // The kernel takes folders of ended containers away by itself, and containerd does while it ends.
        if (existsSync(folder) && performance.now() > deadline) throw error;
        await sleep(50);
      }
    }
}

const mountsUnder = (folder: string): string[] =>
  readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) =>
      (line.split(" ")[1] ?? "").replaceAll(/\\(\d{3})/g, (_all, code: string) =>
        String.fromCodePoint(Number.parseInt(code, 8)),
      ),
    )
    .filter((mount) => mount.startsWith(`${folder}/`))
    .toReversed();

/** Unmounts everything below a folder. */
export async function unmountUnder(folder: string): Promise<void> {
  for (const mount of mountsUnder(folder)) await runCommand("umount", ["--lazy", mount]);
}
