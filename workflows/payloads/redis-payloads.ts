import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { PlatformError } from "../../api/errors.ts";
import type { RedisClient } from "../../net/redis-client.ts";
import { redisScripts } from "../../net/redis-script.ts";
import type { Json } from "../core/json.ts";
import { keyOfMember, memberOf, payloadKey, runKeys } from "../journal/redis-keys.ts";
import type { Payloads } from "../worker/ports.ts";

/** Larger values do not lie in a record. */
export const INLINE_BYTES = 262_144;
export const MAX_PAYLOAD_BYTES = 50 * 1_024 * 1_024;
/** How long the input of a run that is never created is kept. */
const ORPHAN_MS = 3_600_000;

const PUT = redisScripts(join(import.meta.dirname, "..", "journal", "lua"))("put-payload");

const zip = promisify(gzip);
const unzip = promisify(gunzip);

/**
 * Values too large for a record, beside their run in the store: they are gone with it. A reference is `<namespace>/<id>:<sha256>`: whoever has it reads it,
 * the parent of a run too; the same value is stored once a run, compressed.
 * @param client gives the connected client, or throws `redis_unavailable`
 */
export function redisPayloads(client: () => RedisClient): Payloads {
  return {
    inlineBytes: INLINE_BYTES,
    store: async (run, json) => {
      const bytes = Buffer.byteLength(json);
      if (bytes > MAX_PAYLOAD_BYTES)
        throw new PlatformError(
          "payload_too_large",
          `Cannot store a value of run "${memberOf(run)}": it must be ${MAX_PAYLOAD_BYTES} bytes of JSON at most, got ${bytes}`,
        );
      const name = createHash("sha256").update(json).digest("hex");
      const keys = runKeys(run);
      await PUT.run(
        client(),
        [keys.run, keys.payloads, payloadKey(run, name)],
        [name, await zip(json), ORPHAN_MS],
      );
      return { ref: `${keys.member}:${name}`, bytes };
    },
    load: async (ref) => {
      const split = ref.lastIndexOf(":");
      const stored = await client().getBuffer(
        payloadKey(keyOfMember(ref.slice(0, split)), ref.slice(split + 1)),
      );
      if (stored === null)
        throw new PlatformError("run_not_found", `Cannot read payload "${ref}": its run was removed`);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what JSON.parse gives is JSON
      return JSON.parse((await unzip(stored)).toString()) as Json;
    },
  };
}
