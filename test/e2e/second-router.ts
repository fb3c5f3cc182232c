import { spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { vi } from "vitest";
import { freePortBase } from "./free-ports.ts";
import type { TestPlatform } from "./test-platform.ts";

/** A router of its own beside a local platform's, for the same functions. */
export async function startSecondRouter(
  platform: Pick<TestPlatform, "connection" | "home">,
): Promise<{ url: string; stop(): void }> {
  const port = await freePortBase();
  const executor = Number(new URL(platform.connection.routerUrl).port) + 4;
  const child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      resolve(import.meta.dirname, "../../engine/router/main.ts"),
      `--port=${port}`,
      `--internal-port=${port + 1}`,
      "--metrics-port=0",
      `--kubeconfig=${platform.connection.kubeconfig}`,
      `--executor-url=http://127.0.0.1:${executor}`,
      `--internal-key-file=${join(platform.home, "keys", "internal")}`,
    ],
    { stdio: "ignore" },
  );
  const url = `http://127.0.0.1:${port}`;
  await vi.waitFor(
    async () => {
      const { status } = await fetch(`${url}/readyz`);
      if (status !== 200) throw new Error(`The second router answers ${status}`);
    },
    { timeout: 90_000, interval: 100 },
  );
  return { url, stop: () => void child.kill("SIGKILL") };
}
