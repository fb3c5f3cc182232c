import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { request } from "node:https";
import { join, resolve } from "node:path";
import { z } from "zod";
import type { TestPlatform } from "./test-platform.ts";

const MAIN = resolve(import.meta.dirname, "..", "..", "cli", "main.ts");
const Kubeconfig = z.looseObject({
  clusters: z.tuple([
    z.looseObject({ cluster: z.object({ server: z.string(), "certificate-authority-data": z.string() }) }),
  ]),
});
const WRITES = new Set(["POST", "PUT", "PATCH", "DELETE"]);

export interface DyingCli {
  /**
   * Runs a command in a process of its own that is killed (SIGKILL) as soon as its n-th write has been carried out, whose answer it never
   * sees. Resolves to what it was about to do, such as `POST functionaliases`; to nothing when it ended before by itself.
   */
  run(args: readonly string[], n: number): Promise<string | undefined>;
  stop(): Promise<void>;
}

/** A process stands between the command and the Kubernetes API of a local platform. */
export async function dyingCli(platform: TestPlatform): Promise<DyingCli> {
  const kubeconfig = Kubeconfig.parse(JSON.parse(readFileSync(platform.connection.kubeconfig, "utf8")));
  const [{ cluster, ...named }] = kubeconfig.clusters;
  const ca = Buffer.from(cluster["certificate-authority-data"], "base64");
  let left = 0;
  let kill: (what: string) => void = () => undefined;
  const proxy = createServer((asked, answer) => {
    const { method = "GET", url = "/", headers } = asked;
    const path = url.split("?")[0] ?? "";
    // A dry run asks and writes nothing.
    const isWrite = WRITES.has(method) && path.includes("/apis/fission.io/") && !url.includes("dryRun");
    const isLast = isWrite && --left === 0;
    const onward = request(cluster.server + url, { method, headers, ca }, (reply) => {
      if (isLast) {
        reply.resume();
        const [kind = ""] = /namespaces\/[^/]+\/([^/]+)/.exec(path)?.slice(1) ?? [];
        kill(`${method} ${kind}`);
        return;
      }
      answer.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(answer);
    });
    onward.on("error", () => answer.destroy());
    answer.on("close", () => onward.destroy());
    asked.pipe(onward);
  });
  // It passes on how long localkube keeps connections, and has to keep them as long.
  proxy.keepAliveTimeout = 0;
  await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
  const address = proxy.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const through = join(platform.home, `through-${port}.yaml`);
  const clusters = [{ ...named, cluster: { server: `http://127.0.0.1:${port}` } }];
  writeFileSync(through, JSON.stringify({ ...kubeconfig, clusters }));
  return {
    run: (args, n) =>
      new Promise((done, fail) => {
        left = n;
        const child = spawn(
          process.execPath,
          ["--disable-warning=ExperimentalWarning", MAIN, ...args, "--kubeconfig", through],
          {
            cwd: platform.home,
            env: {
              ...process.env,
              ISOTOPE_OPS_URL: platform.connection.opsUrl,
              ISOTOPE_NAMESPACE: platform.namespace,
            },
            stdio: ["ignore", "ignore", "pipe"],
          },
        );
        let said = "";
        let killedAt: string | undefined;
        child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
        kill = (what) => {
          killedAt = what;
          child.kill("SIGKILL");
        };
        child.once("exit", (code) => {
          if (killedAt === undefined && code !== 0)
            fail(new Error(`isotope ${args.join(" ")} ended with ${code}: ${said}`));
          else done(killedAt);
        });
      }),
    stop: () =>
      new Promise((done) => {
        proxy.close(() => done());
        proxy.closeAllConnections();
      }),
  };
}
