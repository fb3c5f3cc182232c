import { z } from "zod";
import type { Setting } from "../../net/settings.ts";
import { anyList, anyObject, count, strings, text, toggle } from "./value-forms.ts";

export const CIDR = /^(\d{1,3}(\.\d{1,3}){3}\/\d{1,2}|[0-9a-fA-F:]+\/\d{1,3})$/;

/** Settings of a process that a user may give; those that the chart sets itself are left out. */
export function settings(records: Readonly<Record<string, Setting<unknown>>>, owned: readonly string[]) {
  const shape: Record<string, z.ZodType> = {};
  for (const { flag, help, allowed } of Object.values(records)) {
    if (!owned.includes(flag))
      shape[flag] = z.union([z.string(), z.number(), z.boolean()]).describe(`${help}; ${allowed}`).optional();
  }
  return z
    .strictObject(shape)
    .describe("Settings of the process by the names of its flags; see docs/reference/settings.md")
    .default({});
}

export const OWNED = [
  "host",
  "port",
  "metrics-host",
  "metrics-port",
  "kubeconfig",
  "internal-key-file",
  "namespace",
];

export const pods = {
  nodeSelector: strings("Labels of the nodes that the pods may run on").default({}),
  tolerations: anyList("Tolerations of the pods").default([]),
  affinity: anyObject("Affinity of the pods").default({}),
  priorityClassName: text("Priority class of the pods").default(""),
  podAnnotations: strings("Annotations of the pods").default({}),
  podLabels: strings("Further labels of the pods").default({}),
};

export const replicated = (replicas: number) => ({
  replicas: count(1, 100, "Number of pods").default(replicas),
  topologySpreadConstraints: z
    .array(z.record(z.string(), z.unknown()))
    .nullable()
    .describe("Spread of the pods; null = evenly over zones and nodes, as far as possible")
    .default(null),
  podDisruptionBudget: z
    .strictObject({
      enabled: toggle("Limit how many pods a node drain may take at once").default(true),
      maxUnavailable: z
        .union([z.int().min(0), z.string().regex(/^\d{1,3}%$/)])
        .describe("Pods that may be away at once")
        .default(1),
    })
    .describe("Made for two replicas and more: with one it would block node drains")
    .prefault({}),
});

export const service = (about: string, port: number) =>
  z
    .strictObject({
      type: z
        .enum(["ClusterIP", "NodePort", "LoadBalancer"])
        .describe("Type of the Service")
        .default("ClusterIP"),
      port: count(1, 65_535, "Port of the Service").default(port),
      annotations: strings("Annotations of the Service").default({}),
      loadBalancerSourceRanges: z
        .array(z.string().regex(CIDR))
        .describe("Who may use the load balancer; empty = everybody")
        .default([]),
    })
    .describe(about)
    .prefault({});

export const persistence = (size: string) =>
  z
    .strictObject({
      enabled: toggle("Keep the data in a PersistentVolumeClaim; otherwise it is lost with the pod").default(
        true,
      ),
      existingClaim: text("Name of a claim that exists already").default(""),
      storageClass: text("Storage class; empty = the cluster's default").default(""),
      size: z.string().describe("Size of the claim").default(size),
      keep: toggle("Leave the claim when the chart is uninstalled").default(true),
    })
    .describe("Where the data lives")
    .prefault({});
