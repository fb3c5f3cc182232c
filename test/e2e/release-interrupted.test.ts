import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type DyingCli, dyingCli } from "./dying-cli.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import { isotope } from "./releasing.ts";
import type { TestPlatform } from "./test-platform.ts";

const CANARY = ["--canary", "50%:pause", "--no-prewarm"];
/** More functions than such a command makes writes. */
const NAMES = Array.from({ length: 12 }, (_, at) => `cut${at + 1}`);

const says = (name: string, text: string): string => `
export const config = { route: "/${name}", requestsPerPod: 20 };
export default () => new Response("${text}");`;

/** The command is the same everywhere, so a laptop's platform is enough. */
describe.skipIf(onCluster)("a deployment whose command is killed between two of its steps", () => {
  let platform: TestPlatform;
  let cli: DyingCli;
  let folder: string;

  beforeAll(async () => {
    platform = await startTestPlatform();
    cli = await dyingCli(platform);
    folder = await deploy(
      platform,
      Object.fromEntries(NAMES.map((name) => [`${name}.ts`, says(name, "old")])),
    );
  }, 300_000);
  afterAll(async () => {
    await cli?.stop();
    await platform?.stop();
  });

  const answers = async (name: string): Promise<string[]> => {
    const all = Array.from({ length: 6 }, async () => {
      const reply = await platform.get(`/${name}`);
      return `${reply.status} ${await reply.text()}`;
    });
    return [...new Set(await Promise.all(all))].toSorted();
  };
  const answersOnly = (name: string, text: string) =>
    vi.waitFor(async () => expect(await answers(name)).toEqual([`200 ${text}`]), { timeout: 60_000 });

  /** Kills one command after the other, each a write later than the one before, until one ends by itself. */
  const cutEverywhere = async (text: string, args: string[]): Promise<{ names: string[]; at: string[] }> => {
    const names: string[] = [];
    const at: string[] = [];
    for (const [before, name] of NAMES.entries()) {
      writeFileSync(join(folder, "functions", `${name}.ts`), says(name, text));
      const cut = await cli.run(["deploy", folder, "--only", name, ...args], before + 1);
      names.push(name);
      if (cut === undefined) return { names, at };
      at.push(cut);
    }
    throw new Error(`a command made more than ${NAMES.length} writes: ${at.join(", ")}`);
  };

  it("a release is gone on with by the same command", async () => {
    const { names, at } = await cutEverywhere("new", CANARY);
    expect(at).toEqual([
      "POST functionversions",
      "POST functionaliases",
      "PATCH httptriggers",
      "PATCH functionaliases",
      "PUT packages",
      "POST functionversions",
      "POST canaryconfigs",
      "PATCH functionaliases",
    ]);
    // Nobody got an error, and nobody the new code but by the release itself.
    for (const name of names) for (const said of await answers(name)) expect(said).toMatch(/^200 (old|new)$/);
    for (const name of names) await isotope(platform, "deploy", folder, "--only", name, ...CANARY);
    for (const name of names) {
      expect(await isotope(platform, "release", "status", name)).toMatch(/-v1 \(old\) +cut\d+-v2 \(new\)/);
      await isotope(platform, "release", "promote", name);
      await answersOnly(name, "new");
    }
    // What is released is released.
    for (const name of names) await isotope(platform, "deploy", folder, "--only", name, ...CANARY);
    for (const name of names)
      expect(await isotope(platform, "release", "status", name)).toContain(`${name}  succeeded`);
  }, 400_000);

  it("so is a deployment that gives the new code all traffic", async () => {
    const { names, at } = await cutEverywhere("newer", []);
    expect(at).toEqual([
      "PATCH functionaliases",
      "PUT packages",
      "POST functionversions",
      "PUT functionaliases",
    ]);
    for (const name of names) await isotope(platform, "deploy", folder, "--only", name);
    for (const name of names) await answersOnly(name, "newer");
  }, 300_000);

  it("what a release took back is not released by deploying the same files again", async () => {
    const name = NAMES[0] ?? "";
    writeFileSync(join(folder, "functions", `${name}.ts`), says(name, "bad"));
    // Killed when the release has begun and the mark is still there.
    expect(await cli.run(["deploy", folder, "--only", name, ...CANARY], 4)).toBe("PUT canaryconfigs");
    await isotope(platform, "release", "abort", name);
    await answersOnly(name, "newer");
    await isotope(platform, "deploy", folder, "--only", name);
    await answersOnly(name, "newer");
  }, 300_000);

  it("the history tells all releases of a function", async () => {
    const told = await isotope(platform, "release", "history", NAMES[0] ?? "");
    expect(told).toMatch(/cut1-v4 in place of cut1-v3: aborted[^]*cut1-v2 in place of cut1-v1: succeeded/);
  });
});
