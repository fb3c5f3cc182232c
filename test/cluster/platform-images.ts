import { homedir } from "node:os";
import { join } from "node:path";
import { type BuiltImage, buildImages, readIndex } from "../../scripts/images/build-images.ts";
import { findEngine } from "../../scripts/images/container-engine.ts";
import { IMAGES, ROOT } from "../../scripts/images/image-table.ts";
import type { Cluster } from "./cluster.ts";
import { clusterLayout } from "./layout.ts";
import { withMachineLock } from "../machine-lock.ts";

const OUT = join(ROOT, ".cache", "images");

/**
 * Builds the platform's images, as far as their content changed, and imports them into the node. On a foreign cluster they
 * must have been built by `node scripts/build-images.ts --registry …` and pushed; then their names are given.
 */
export async function platformImages(
  cluster: Cluster,
  log: (line: string) => void,
): Promise<readonly BuiltImage[]> {
  if (!cluster.own) {
    const images = readIndex(OUT);
    if (images.length < IMAGES.length)
      throw new Error(
        `Cannot test on "${cluster.kubeconfig}": build the images by node scripts/build-images.ts --registry REGISTRY and push them first`,
      );
    return images;
  }
  // Another run may be writing the same archives.
  return withMachineLock(clusterLayout().cache, async () => {
    const images = await buildImages({
      engine: await findEngine(),
      images: IMAGES.map(({ name }) => name),
      registry: "isotope.local",
      base: undefined,
      tag: undefined,
      out: OUT,
      cache: join(homedir(), ".cache", "isotope-images"),
      log,
    });
    await cluster.importImages(images);
    return images;
  });
}
