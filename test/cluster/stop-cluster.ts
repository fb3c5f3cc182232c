import { existsSync, globSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { daemonPid, endProcesses, stopDaemons } from "./daemons.ts";
import type { Layout } from "./layout.ts";
import { podPids, removeCgroups, removeSystemFolders, unmountUnder } from "./leftovers.ts";
import { networkPids, removeNetwork } from "./network.ts";
import { runCommand } from "../../scripts/images/run-command.ts";

/** Those that would start again what is being stopped. */
const RESTARTERS = ["kubelet", "controller-manager", "scheduler", "local-path-provisioner"];

/** Ends all containers by containerd, whose shims then clean up after themselves. */
async function endContainers({ state, containerdSocket }: Layout): Promise<void> {
  if (daemonPid(state, "containerd") === undefined) return;
  const ctr = (...args: string[]): Promise<string> =>
    runCommand("ctr", ["--address", containerdSocket, "--namespace", "k8s.io", ...args]);
  const tasks = (await ctr("tasks", "list", "--quiet").catch(() => "")).split("\n").filter(Boolean);
  await Promise.all(tasks.map((task) => ctr("tasks", "delete", "--force", task).catch(() => undefined)));
}

/** Whether anything of a cluster is there, running or not. */
export const hasRemains = async (layout: Layout): Promise<boolean> =>
  existsSync(layout.state) || (await networkPids()).length > 0;

/** Stops the cluster, in whatever state it is, and removes everything that it made but the cached binaries. */
export async function stopCluster(layout: Layout): Promise<void> {
  const { state } = layout;
  await stopDaemons(state, RESTARTERS);
  await endContainers(layout);
  await endProcesses(podPids(), "SIGKILL");
  await stopDaemons(
    state,
    globSync("*.pid", { cwd: state }).map((file) => basename(file, ".pid")),
  );
  // Shims, and whatever a test started on the node.
  await endProcesses(await networkPids(), "SIGKILL");
  await unmountUnder(state);
  await removeCgroups();
  await removeNetwork();
  await removeSystemFolders(state);
  rmSync(state, { recursive: true, force: true, maxRetries: 3 });
}
