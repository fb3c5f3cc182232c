import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RedisClient } from "./redis-client.ts";

/** A Lua script: one atomic operation of the store. */
export interface RedisScript {
  /** Runs it by its digest; a server that has forgotten it (restart, `SCRIPT FLUSH`, failover) gets the text. */
  run(
    client: RedisClient,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown>;
  /** The same with binary strings as `Buffer`s in the reply. */
  runBuffer(
    client: RedisClient,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown>;
}

/**
 * Scripts of a folder: `<name>.lua`, each with `prelude.lua` in front.
 * @param folder absolute
 */
export function redisScripts(folder: string): (name: string) => RedisScript {
  const prelude = readFileSync(join(folder, "prelude.lua"), "utf8");
  return (name) => {
    const text = `${prelude}\n${readFileSync(join(folder, `${name}.lua`), "utf8")}`;
    const sha = createHash("sha1").update(text).digest("hex");
    const orText = async (call: () => Promise<unknown>, again: () => Promise<unknown>): Promise<unknown> => {
      try {
        return await call();
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
        return again();
      }
    };
    return {
      run: (client, keys, args) =>
        orText(
          () => client.evalsha(sha, keys.length, ...keys, ...args),
          () => client.eval(text, keys.length, ...keys, ...args),
        ),
      runBuffer: (client, keys, args) =>
        orText(
          () => client.callBuffer("EVALSHA", sha, keys.length, ...keys, ...args),
          () => client.callBuffer("EVAL", text, keys.length, ...keys, ...args),
        ),
    };
  };
}
