import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { vi } from "vitest";
import type { TestPlatform } from "./test-platform.ts";

const freePort = (): Promise<number> =>
  new Promise((done, fail) => {
    const server = createServer();
    server.once("error", fail);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address ? address.port : 0));
    });
  });

/** A router of its own beside a local platform's, for the same functions. */
export async function startSecondRouter(
  platform: Pick<TestPlatform, "connection" | "home">,
): Promise<{ url: string; stop(): void }> {
  const port = await freePort();
  const executor = Number(new URL(platform.connection.routerUrl).port) + 4;
  const child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      resolve(import.meta.dirname, "../../engine/router/main.ts"),
      `--port=${port}`,
      `--internal-port=${await freePort()}`,
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
    { timeout: 20_000, interval: 100 },
  );
  return { url, stop: () => void child.kill("SIGKILL") };
}
