import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RedisClient } from "../../net/redis-client.ts";

export type { RedisClient };

/** A Lua script of `lua/`: one atomic operation of the store. */
export interface RedisScript {
  /** Runs it by its digest; a server that has forgotten it (restart, `SCRIPT FLUSH`, failover) gets the text. */
  run(
    client: RedisClient,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown>;
}

const FOLDER = join(import.meta.dirname, "lua");
const PRELUDE = readFileSync(join(FOLDER, "prelude.lua"), "utf8");

/** @param name of the file, without `.lua` */
export function redisScript(name: string): RedisScript {
  const text = `${PRELUDE}\n${readFileSync(join(FOLDER, `${name}.lua`), "utf8")}`;
  const sha = createHash("sha1").update(text).digest("hex");
  return {
    run: async (client, keys, args) => {
      try {
        return await client.evalsha(sha, keys.length, ...keys, ...args);
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
        return client.eval(text, keys.length, ...keys, ...args);
      }
    },
  };
}
