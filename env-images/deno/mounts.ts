import type { MountedData } from "../../api/wire/specialize.ts";
import type { MountedText } from "./function-context.ts";
import { defineProperty, freeze, objectKeys, utf8Text } from "./primordials.ts";

const fromBase64 = Uint8Array.fromBase64.bind(Uint8Array);

/** Secrets (0400) and config maps (0444) as files, by default below `<base>/<namespace>/<name>/`. */
export function writeMounts(root: string, base: string, mounts: readonly MountedData[], mode: number): void {
  for (const mount of mounts) {
    const folder =
      mount.mountPath === undefined
        ? `${base}/${mount.namespace}/${mount.name}`
        : `${root}/${mount.mountPath}`;
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const [key, content] of Object.entries(mount.data)) {
      const file = `${folder}/${key}`;
      Deno.writeFileSync(file, Uint8Array.fromBase64(content), { mode, createNew: true });
      // The umask may have taken bits away.
      Deno.chmodSync(file, mode);
    }
  }
}

/** The same content as text, by name and key; a key that is read is decoded then. */
export function mountedText(mounts: readonly MountedData[]): MountedText {
  const result: Record<string, Record<string, string>> = Object.create(null);
  for (const mount of mounts) {
    const texts: Record<string, string> = Object.create(null);
    for (const key of objectKeys(mount.data)) {
      defineProperty(texts, key, {
        enumerable: true,
        get: () => utf8Text(fromBase64(mount.data[key] ?? "")),
      });
    }
    result[mount.name] = freeze(texts);
  }
  return freeze(result);
}
