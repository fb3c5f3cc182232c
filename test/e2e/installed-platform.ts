import { readFileSync } from "node:fs";
import { z } from "zod";

/** What the test run tells about the platform that it installed on a cluster: the file that ISOTOPE_TEST_CLUSTER names. */
export const InstalledPlatform = z.object({
  kubeconfig: z.string(),
  /** Of the public listener, reachable from this machine. */
  routerUrl: z.string(),
  /** Where the chart is installed. */
  platformNamespace: z.string(),
  /** Labels of namespaces in which it minds functions. */
  functionNamespaceLabels: z.record(z.string(), z.string()).default({ "isotope.dev/functions": "enabled" }),
});
export type InstalledPlatform = z.infer<typeof InstalledPlatform>;

export const installedPlatform = (): InstalledPlatform | undefined => {
  const file = process.env.ISOTOPE_TEST_CLUSTER;
  return file ? InstalledPlatform.parse(JSON.parse(readFileSync(file, "utf8"))) : undefined;
};

/** The same for tests that run on a cluster only. */
export function requireInstalledPlatform(): InstalledPlatform {
  const installed = installedPlatform();
  if (!installed) throw new Error("ISOTOPE_TEST_CLUSTER names no platform");
  return installed;
}
