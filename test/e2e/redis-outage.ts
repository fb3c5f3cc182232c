import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { processesWith } from "./processes.ts";

/** Kills (SIGKILL) the Redis of a local platform and takes its port, so that whatever is started again cannot listen. */
export async function redisOutage(home: string): Promise<{ end(): Promise<void> }> {
  const port = /^port (\d+)$/m.exec(readFileSync(join(home, "redis", "redis.conf"), "utf8"))?.[1];
  if (port === undefined) throw new Error(`The Redis of "${home}" has no port`);
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    for (const pid of processesWith(`redis-server 127.0.0.1:${port}`)) kill(pid);
    const taken = await listen(Number(port));
    if (taken) return { end: () => new Promise((done) => taken.close(() => done())) };
  }
  throw new Error(`Cannot take port ${port} from Redis`);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has gone by itself.
  }
}

/** Undefined: somebody else has the port. Connections to it end at once. */
function listen(port: number): Promise<Server | undefined> {
  return new Promise((done) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", () => setTimeout(() => done(undefined), 5));
    server.listen(port, "127.0.0.1", () => done(server));
  });
}
