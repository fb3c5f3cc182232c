import { hkdfSync } from "node:crypto";
import { readFileSync, statSync } from "node:fs";

/**
 * The master keys of internal calls. The first signs; all verify, so that a rotation is: put the new key in front, wait until every
 * process has read it, take the old one away. A key's bytes are the UTF-8 of its text, as in the reference system.
 */
export interface KeyRing {
  /** The keys now, newest first; 1 or 2 of them. */
  masters(): readonly Buffer[];
}

const MIN_KEY_LENGTH = 32;
const MAX_KEYS = 2;

/** Key ring of given keys. Throws RangeError for none, for more than two, and for a key under 32 characters. */
export function keyRing(keys: readonly string[]): KeyRing {
  const masters = checkedKeys(keys, "given keys");
  return { masters: () => masters };
}

/**
 * Key ring read from a file with one key a line (first = the one that signs). The file is looked at again at most every
 * `recheckMs`, and a change that does not parse keeps the keys there were. Throws when the file is missing or malformed at the first reading.
 */
export function keyRingFromFile(path: string, recheckMs = 5_000, now: () => number = Date.now): KeyRing {
  const read = () => checkedKeys(readFileSync(path, "utf8").split("\n"), `key file "${path}"`);
  let masters = read();
  let modifiedMs = statSync(path).mtimeMs;
  let lookedAt = now();
  return {
    masters: () => {
      if (now() - lookedAt < recheckMs) return masters;
      lookedAt = now();
      try {
        const changedMs = statSync(path).mtimeMs;
        if (changedMs === modifiedMs) return masters;
        masters = read();
        modifiedMs = changedMs;
      } catch {
        // A file that is being replaced at this moment is read at the next look.
      }
      return masters;
    },
  };
}

function checkedKeys(lines: readonly string[], where: string): Buffer[] {
  const keys = lines.map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.length === 0 || keys.length > MAX_KEYS)
    throw new RangeError(`Cannot use ${where}: 1 or 2 keys are allowed, got ${keys.length}`);
  for (const key of keys) {
    if (key.length < MIN_KEY_LENGTH)
      throw new RangeError(
        `Cannot use ${where}: a key needs at least ${MIN_KEY_LENGTH} characters, got ${key.length}`,
      );
  }
  return keys.map((key) => Buffer.from(key, "utf8"));
}

const derived = new WeakMap<Buffer, Map<string, Buffer>>();
const MAX_DERIVED = 1_000;

/** HKDF-SHA256 of a master key for one purpose (`info`), 32 bytes, remembered per master. */
export function deriveKey(master: Buffer, info: string): Buffer {
  let byInfo = derived.get(master);
  if (!byInfo) derived.set(master, (byInfo = new Map()));
  let key = byInfo.get(info);
  if (!key) {
    key = Buffer.from(hkdfSync("sha256", master, Buffer.alloc(0), info, 32));
    // Infos may hold a caller's namespace, so their number is bounded.
    if (byInfo.size >= MAX_DERIVED) byInfo.clear();
    byInfo.set(info, key);
  }
  return key;
}
