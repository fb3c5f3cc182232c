import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { findRedisServer } from "../../local/redis.ts";
import { ROOT } from "../../scripts/images/image-table.ts";
import { contentTag } from "../../scripts/images/content-tag.ts";
import { runCommand } from "../../scripts/images/run-command.ts";
import type { Cluster } from "./cluster.ts";
import { writeOciArchive } from "./oci-archive.ts";

const OUT = join(ROOT, ".cache", "images");
const REGISTRY = "isotope.local";
const REPOSITORY = "test/redis";

/**
 * Chart values for the bundled Redis, with an image made of this machine's `redis-server` and its libraries, which is imported
 * into the node. On a foreign cluster, whose nodes are not ours, the chart's own image is pulled; where no Redis is installed, there is none.
 */
export async function redisValues(cluster: Cluster): Promise<string[]> {
  const server = findRedisServer();
  if (!cluster.own) return [];
  if (server === undefined) return ["redis.enabled=false"];
  const libraries = [...(await runCommand("ldd", [server])).matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(
    ([, path]) => path ?? "",
  );
  const files = [
    { path: "bin/redis-server", content: readFileSync(server) },
    ...libraries.map((path) => ({ path: path.slice(1), content: readFileSync(path) })),
  ];
  const hash = createHash("sha256");
  for (const { path, content } of files) hash.update(path).update(content);
  const tag = contentTag(hash);
  const ref = `${REGISTRY}/${REPOSITORY}:${tag}`;
  const archive = join(OUT, `redis-${tag}.oci.tar`);
  if (!existsSync(archive)) {
    mkdirSync(OUT, { recursive: true });
    const partial = `${archive}.partial-${process.pid}`;
    await writeOciArchive(partial, { ref, files, entrypoint: ["/bin/redis-server"] });
    renameSync(partial, archive);
  }
  await cluster.importImages([{ ref, archive }]);
  return [
    "redis.functions.enabled=true",
    `redis.image.registry=${REGISTRY}`,
    `redis.image.repository=${REPOSITORY}`,
    `redis.image.tag=${tag}`,
    "redis.command={/bin/redis-server}",
  ];
}
