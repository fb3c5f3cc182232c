import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { portsFrom } from "../../local/ports.ts";
import type { TestPlatform } from "./test-platform.ts";

const LISTENS = "Trigger service listens";

/** Address of a local platform's Redis, for what belongs to the platform. */
export function platformRedis({ connection, home }: Pick<TestPlatform, "connection" | "home">): string {
  const password = readFileSync(join(home, "keys", "redis"), "utf8").trim();
  const { redis } = portsFrom(Number(new URL(connection.routerUrl).port));
  return `redis://default:${password}@127.0.0.1:${redis}`;
}

/** A trigger service of its own beside a local platform's: they share the work. */
export async function startSecondTriggers(
  platform: Pick<TestPlatform, "connection" | "home">,
): Promise<ChildProcess> {
  const ports = portsFrom(Number(new URL(platform.connection.routerUrl).port));
  const child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      resolve(import.meta.dirname, "../../engine/triggers/main.ts"),
      "--host=127.0.0.1",
      "--port=0",
      "--metrics-host=127.0.0.1",
      "--metrics-port=0",
      `--kubeconfig=${platform.connection.kubeconfig}`,
      `--router-internal-url=http://127.0.0.1:${ports.routerInternal}`,
      `--workflows-url=http://127.0.0.1:${ports.workflows}`,
      `--executor-url=http://127.0.0.1:${ports.executor}`,
      `--internal-key-file=${join(platform.home, "keys", "internal")}`,
    ],
    {
      env: { ...process.env, ISOTOPE_TRIGGERS_REDIS_URL: platformRedis(platform) },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  await new Promise<void>((done, fail) => {
    const hear = (chunk: Buffer): void => {
      said += chunk.toString("utf8");
      if (said.includes(LISTENS)) done();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("exit", (code) => fail(new Error(`The second trigger service ended with ${code}:\n${said}`)));
  });
  return child;
}
