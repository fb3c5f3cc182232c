import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, type Redis } from "ioredis";
import { type RedisServer, redisServer } from "./redis-server.ts";

const SLOTS = 16_384;

/** A Redis Cluster of primaries on loopback that share the slots: enough to meet MOVED and CROSSSLOT. */
export interface RedisCluster {
  readonly client: Cluster;
  readonly url: string;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

export async function redisCluster(size: number, binary?: string): Promise<RedisCluster> {
  const servers: RedisServer[] = await Promise.all(
    Array.from({ length: size }, () =>
      redisServer({
        ...(binary === undefined ? {} : { binary }),
        settings: { "cluster-enabled": "yes", "cluster-node-timeout": "15000" },
      }),
    ),
  );
  const nodes: Redis[] = servers.map((server) => server.connect());
  const share = Math.ceil(SLOTS / size);
  for (const [at, node] of nodes.entries()) {
    const slots = Array.from({ length: Math.min(share, SLOTS - at * share) }, (_, n) => at * share + n);
    await node.call("CLUSTER", "ADDSLOTS", ...slots);
  }
  for (const node of nodes) {
    // On a busy machine a meeting may come to nothing, and is forgotten then.
    for (
      let round = 0;
      !String(await node.call("CLUSTER", "INFO")).includes("cluster_state:ok");
      round += 1
    ) {
      if (round % 50 === 0)
        for (const other of nodes.slice(1))
          await other.call("CLUSTER", "MEET", "127.0.0.1", String(servers[0]?.port));
      await sleep(20);
    }
  }
  const client = new Cluster(servers.map(({ port }) => ({ host: "127.0.0.1", port })));
  client.on("error", () => undefined);
  return {
    client,
    url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
    flush: async () => void (await Promise.all(nodes.map((node) => node.flushall()))),
    stop: async () => {
      client.disconnect();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
