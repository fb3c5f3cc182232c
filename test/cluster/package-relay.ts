import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { runCommand } from "../../scripts/images/run-command.ts";
import type { Cluster } from "./cluster.ts";
import { NETWORK } from "./layout.ts";

/**
 * The test cluster has no way to the internet. Builds that need packages of npm get them through this machine: a server that passes GETs
 * on to the registry that npm uses here.
 */
export interface PackageRelay {
  /** Chart values that make builder pods use it. */
  readonly values: readonly string[];
  stop(): Promise<void>;
}

/** Of answers: what a client needs to read, keep and check them. */
const PASSED_ON = ["content-type", "etag", "last-modified", "cache-control"];

/** Starts the relay; without one where the cluster is not ours, whose pods reach a registry or not. */
export async function startPackageRelay(cluster: Cluster): Promise<PackageRelay> {
  if (!cluster.own) return { values: [], stop: async () => undefined };
  const registry = (await runCommand("npm", ["config", "get", "registry"])).trim();
  const server = createServer((request, reply) => {
    void relay(registry, request, reply).catch((error: unknown) => {
      if (reply.headersSent) reply.destroy();
      else reply.writeHead(502).end(String(error));
    });
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, NETWORK.host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port : 0);
    });
  });
  const environment = "functionNamespaces.environment.builderEnv[0]";
  const rule = "networkPolicy.builders.extraEgress[0]";
  return {
    values: [
      `${environment}.name=npm_config_registry`,
      `${environment}.value=http://${NETWORK.host}:${port}/`,
      `${rule}.to[0].ipBlock.cidr=${NETWORK.host}/32`,
      `${rule}.ports[0].port=${port}`,
    ],
    stop: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function relay(registry: string, request: IncomingMessage, reply: ServerResponse): Promise<void> {
  if (request.method !== "GET") {
    reply.writeHead(405, { allow: "GET" }).end();
    return;
  }
  const { accept } = request.headers;
  const answer = await fetch(new URL(`.${request.url ?? "/"}`, registry), {
    headers: accept === undefined ? {} : { accept },
  });
  const headers = PASSED_ON.flatMap((name) => {
    const value = answer.headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  reply.writeHead(answer.status, Object.fromEntries(headers));
  if (answer.body) Readable.fromWeb(answer.body).pipe(reply);
  else reply.end();
}
