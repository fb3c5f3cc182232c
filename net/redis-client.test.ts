import { describe, expect, it } from "vitest";
import { redisClient } from "./redis-client.ts";

const options = { name: "test", patient: false, maxRetriesPerRequest: 0, retryDelayMs: () => 60_000 };

describe("the address of a cluster", () => {
  it("is refused when it names no server with its port", () => {
    for (const url of [
      "redis+cluster://",
      "redis+cluster://host",
      "rediss+cluster://a:1,b",
      "redis+cluster://a:70000",
    ])
      expect(() => redisClient(url, options), url).toThrow(/must be "redis\+cluster:/);
  });

  it("holds an account", () => {
    const client = redisClient("rediss+cluster://me:p%40ss@127.0.0.1:1,[::1]:2", options);
    client.on("error", () => undefined);
    expect(client.options).toMatchObject({
      redisOptions: { username: "me", password: "p@ss", tls: {}, connectionName: "test" },
      enableOfflineQueue: false,
    });
    client.disconnect();
  });
});
