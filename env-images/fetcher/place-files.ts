import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { archiveFormat } from "../../net/archive/archive-format.ts";
import type { MountedData } from "../../api/wire/specialize.ts";

/** Makes files for the pod's own user and group only: 0640, folders 0750. To be called once, before anything is written. */
export const restrictFileModes = (): number => process.umask(0o027);

/** Puts the archive at `target`: the files of a zip as a folder unless it is kept, anything else as one file. All of it or nothing. */
export async function placeArchive(bytes: Uint8Array, target: string, keepArchive: boolean): Promise<void> {
  await rm(target, { recursive: true, force: true });
  if (!keepArchive && archiveFormat(bytes) === "zip") {
    // Loaded when it is needed only: most of a pod's life it is not.
    const { extractArchive } = await import("../../net/archive/extract-archive.ts");
    await extractArchive(bytes, "zip", target);
    return;
  }
  const partial = `${target}.partial-${randomUUID()}`;
  await writeFile(partial, bytes, { flag: "wx", mode: 0o640 });
  await rename(partial, target);
}

/**
 * Writes secrets or config maps as files below `base`: `<namespace>/<name>/<key>`, or `<mountPath>/<key>`. What was there before under
 * the same name is replaced at once. Names are checked by whoever read the message.
 */
export async function placeMounts(base: string, mounts: readonly MountedData[], mode: number): Promise<void> {
  const placed = mounts.map(({ namespace, name, mountPath, data }) => ({
    target: join(base, mountPath ?? join(namespace, name)),
    data,
  }));
  // An outer folder first, since placing it clears it.
  for (const { target, data } of placed.toSorted((a, b) => a.target.length - b.target.length)) {
    const partial = join(base, `.partial-${randomUUID()}`);
    await mkdir(partial, { mode: 0o750 });
    for (const [key, content] of Object.entries(data))
      await writeFile(join(partial, key), Buffer.from(content, "base64"), { flag: "wx", mode });
    await mkdir(dirname(target), { recursive: true });
    await rm(target, { recursive: true, force: true });
    await rename(partial, target);
  }
}
