import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Cluster, currentCluster, down, up } from "./cluster.ts";
import { installPlatform } from "./install-platform.ts";
import { type PackageRelay, startPackageRelay } from "./package-relay.ts";
import { platformImages } from "./platform-images.ts";
import { redisValues } from "./redis-image.ts";

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** One cluster for the whole run: the one named, the one that runs already (and then stays), or a new one. */
async function findCluster(): Promise<{ cluster: Cluster; release: () => Promise<void> }> {
  const named = currentCluster();
  if (!named.own) return { cluster: named, release: async () => undefined };
  const { cluster, wasUp } = await up({ log: say });
  return { cluster, release: wasUp ? async () => undefined : down };
}

/** Vitest's set-up of the cluster tests: a cluster with the platform on it. */
export async function setup(): Promise<() => Promise<void>> {
  const { cluster, release } = await findCluster();
  const folder = mkdtempSync(join(tmpdir(), "isotope-cluster-"));
  let relay: PackageRelay | undefined;
  try {
    if (process.env["ISOTOPE_TEST_CLUSTER"] === undefined) {
      say("Building images and installing the platform");
      const images = await platformImages(cluster, say);
      relay = await startPackageRelay(cluster);
      const values = [...relay.values, ...(await redisValues(cluster))];
      const installed = await installPlatform(cluster, { images, namespace: "isotope", values });
      const file = join(folder, "platform.json");
      writeFileSync(file, JSON.stringify(installed));
      process.env["ISOTOPE_TEST_CLUSTER"] = file;
    }
  } catch (error) {
    await relay?.stop();
    await release();
    throw error;
  }
  return async () => {
    rmSync(folder, { recursive: true });
    await relay?.stop();
    await release();
  };
}
