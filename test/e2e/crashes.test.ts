import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { killEach } from "../kill-each.ts";
import { startTestPlatform } from "./platform.ts";
import { processesWith, processWith } from "./processes.ts";
import type { TestPlatform } from "./test-platform.ts";

const onLinux = process.platform === "linux";
const project = mkdtempSync(join(tmpdir(), "isotope-crashes-"));
let platform: TestPlatform;

function write(files: Record<string, string>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(project, path)), { recursive: true });
    writeFileSync(join(project, path), content);
  }
}

/** The process that answers: it differs after the pod was replaced. */
const NUMBER = "const born = crypto.randomUUID();\nexport default () => new Response(born);\n";
const bodyOf = async (path: string): Promise<string> => {
  const reply = await platform.get(path);
  return reply.status === 200 ? reply.text() : `${reply.status} ${await reply.text()}`;
};
const UUID = /^[0-9a-f-]{36}$/;

/** Calls `path` all the time until told to stop; resolves to what failed. */
function callAllTheTime(path: string): () => Promise<string[]> {
  const failures: string[] = [];
  let calls = 0;
  const state = { stopped: false };
  const loop = (async () => {
    while (!state.stopped) {
      calls++;
      try {
        const reply = await platform.get(path);
        const text = await reply.text();
        if (reply.status !== 200) failures.push(`${reply.status} ${text}`);
      } catch (error) {
        failures.push(String(error));
      }
      await new Promise((done) => setTimeout(done, 5));
    }
  })();
  return async () => {
    state.stopped = true;
    await loop;
    expect(calls).toBeGreaterThan(0);
    return failures;
  };
}

beforeAll(async () => {
  write({
    "functions/warm.ts": NUMBER,
    "functions/other.ts": NUMBER,
    "functions/slow-build.ts": NUMBER,
  });
  platform = await startTestPlatform();
  const deployed = await platform.cli(["deploy", project]);
  expect(deployed.code, deployed.err).toBe(0);
}, 240_000);
afterAll(async () => {
  await platform?.stop();
  rmSync(project, { recursive: true });
});

describe.skipIf(!onLinux)("kill -9", { timeout: 300_000 }, () => {
  it("of the control plane: warm calls go on, warm pods are kept, cold calls work again", async () => {
    const before = await bodyOf("/warm");
    const stop = callAllTheTime("/warm");
    process.kill(processWith("local/control-plane", platform.home), "SIGKILL");
    await expect.poll(() => bodyOf("/other"), { timeout: 90_000 }).toMatch(UUID);
    expect(await stop()).toEqual([]);
    expect(await bodyOf("/warm")).toBe(before);
  });

  it("of localkube: warm calls go on, pods live on, objects are all there", async () => {
    const before = await bodyOf("/warm");
    const stop = callAllTheTime("/warm");
    process.kill(processWith("localkube/main", platform.home), "SIGKILL");
    await expect
      .poll(async () => (await platform.cli(["fn", "list", "-o", "name"])).out, { timeout: 90_000 })
      .toBe("functions/other\nfunctions/slow-build\nfunctions/warm\n");
    expect(await stop()).toEqual([]);
    expect(await bodyOf("/warm")).toBe(before);
  });

  it("of the router: it answers again, from the same pods", async () => {
    const before = await bodyOf("/warm");
    process.kill(processWith("router/main", new URL(platform.connection.routerUrl).port), "SIGKILL");
    await expect.poll(() => bodyOf("/warm").catch(String), { timeout: 90_000 }).toBe(before);
  });

  it("of a pod: the next call has another one", async () => {
    const before = await bodyOf("/warm");
    // What lists them was killed itself, and may be reading them anew.
    const pods = await vi.waitFor(
      async () => {
        const { code, out, err } = await platform.cli(["fn", "pods", "warm", "-o", "json"]);
        expect(code, err).toBe(0);
        const found = JSON.parse(out) as { uid: string }[];
        expect(found).toHaveLength(1);
        return found;
      },
      { timeout: 60_000, interval: 200 },
    );
    process.kill(processWith("deno", "run", pods[0]?.uid ?? ""), "SIGKILL");
    await expect.poll(() => bodyOf("/warm"), { timeout: 90_000 }).toMatch(UUID);
    expect(await bodyOf("/warm")).not.toBe(before);
  });

  it("of the builder in the middle of a build: it is built all the same", async () => {
    write({
      "functions/slow-build.ts": `${Array.from({ length: 40_000 }, (_, at) => `export const v${at} = { a: ${at}, b: [${at}, "x${at}"] };`).join("\n")}\n${NUMBER}`,
    });
    const deploying = platform.cli(["deploy", project, "--only", "slow-build"]);
    const kubectlStatus = async () =>
      JSON.parse((await platform.cli(["pkg", "get", "slow-build", "-o", "json"])).out) as {
        status?: { buildstatus?: string };
      };
    await expect
      .poll(async () => (await kubectlStatus()).status?.buildstatus, { timeout: 90_000, interval: 5 })
      .toMatch(/running|succeeded/);
    killEach(processesWith("env-images/builder/", platform.home));
    const { code, err } = await deploying;
    expect(code, err).toBe(0);
    expect(await bodyOf("/slow-build")).toMatch(UUID);
  });

  it("of the supervisor: everything ends with it, and the next start serves what was accepted", async () => {
    const { home } = platform;
    const portBase = Number(new URL(platform.connection.routerUrl).port);
    platform.supervisor.kill("SIGKILL");
    await expect.poll(() => processesWith(home), { timeout: 90_000 }).toEqual([]);
    platform = await startTestPlatform({ home, portBase });
    await expect.poll(() => bodyOf("/warm"), { timeout: 90_000 }).toMatch(UUID);
    expect((await platform.cli(["fn", "list", "-o", "name"])).out).toContain("functions/warm");
  });
});

it("SIGTERM ends everything in order and leaves no process behind", async () => {
  const { home } = platform;
  const portBase = Number(new URL(platform.connection.routerUrl).port);
  await platform.stop({ keepHome: true });
  expect(platform.supervisor.exitCode).toBe(0);
  if (onLinux) await expect.poll(() => processesWith(home), { timeout: 90_000 }).toEqual([]);
  platform = await startTestPlatform({ home, portBase });
  await expect.poll(() => bodyOf("/warm"), { timeout: 90_000 }).toMatch(UUID);
}, 300_000);
