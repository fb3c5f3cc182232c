import { existsSync, readFileSync } from "node:fs";
import { runCommand } from "../../scripts/images/run-command.ts";
import { NETWORK } from "./layout.ts";
import { SYSTEM_PATH } from "./prerequisites.ts";

const { name, hostLink, nodeLink, host, node, pods, services } = NETWORK;
const NETNS_FILE = `/var/run/netns/${name}`;

const system = (command: string, ...args: string[]): Promise<string> =>
  runCommand(command, args, { env: { PATH: SYSTEM_PATH } });
const inNode = (...args: string[]): Promise<string> => system("nsenter", `--net=${NETNS_FILE}`, ...args);

/** Whether the cluster's network namespace is there. */
export const hasNetwork = (): boolean => existsSync(NETNS_FILE);

/** A network namespace for the node, and routes by which this machine reaches pods and services. It leads nowhere else. */
export async function makeNetwork(): Promise<void> {
  await system("ip", "netns", "add", name);
  await system("ip", "link", "add", hostLink, "type", "veth", "peer", "name", nodeLink);
  await system("ip", "link", "set", nodeLink, "netns", name);
  await system("ip", "addr", "add", `${host}/30`, "dev", hostLink);
  await system("ip", "link", "set", hostLink, "up");
  await inNode("ip", "link", "set", "lo", "up");
  await inNode("ip", "addr", "add", `${node}/30`, "dev", nodeLink);
  await inNode("ip", "link", "set", nodeLink, "up");
  for (const range of [pods, services]) await system("ip", "route", "add", range, "via", node);
  // Components want a default route; it ends at the host, which forwards nothing.
  await inNode("ip", "route", "add", "default", "via", host);
  await inNode("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward");
  await system("sh", "-c", `echo 0 >/proc/sys/net/ipv4/conf/${hostLink}/forwarding`);
}

/** Pids of the processes in the node's network namespace. */
export async function networkPids(): Promise<number[]> {
  if (!hasNetwork()) return [];
  const text = await system("ip", "netns", "pids", name);
  return text.split("\n").filter(Boolean).map(Number);
}

/** Removes the namespace, its link and with them the routes. */
export async function removeNetwork(): Promise<void> {
  if (hasNetwork()) await system("ip", "netns", "del", name);
  if (
    readFileSync("/proc/net/dev", "utf8").includes(` ${hostLink}:`) ||
    existsSync(`/sys/class/net/${hostLink}`)
  )
    await system("ip", "link", "del", hostLink).catch((error: unknown) => {
      // It goes with the namespace's end of it, a moment later.
      if (existsSync(`/sys/class/net/${hostLink}`)) throw error;
    });
}

/**
 * Hands packets from and to pods to the agent that enforces NetworkPolicies. By iptables: not every kernel has the queue
 * expression of nft that the agent would set itself. The node's own processes pass, as on any node.
 */
export async function queuePodTraffic(queue: number): Promise<void> {
  const rules = [
    "-N KNP",
    "-A KNP -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    `-A KNP -s ${pods} -j NFQUEUE --queue-num ${queue}`,
    `-A KNP -d ${pods} -j NFQUEUE --queue-num ${queue}`,
    "-A POSTROUTING -m owner --uid-owner 0 -j ACCEPT",
    "-A POSTROUTING -j KNP",
    `-A INPUT -s ${pods} -j KNP`,
  ];
  for (const rule of rules) await inNode("iptables", "-w", "-t", "mangle", ...rule.split(" "));
}
