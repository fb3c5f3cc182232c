import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { freePortBase } from "./free-ports.ts";
import { processesWith } from "./processes.ts";

/** `isotope dev` as a developer meets it: one terminal, one folder, files that are saved. */
const ROOT = resolve(import.meta.dirname, "..", "..");
const app = mkdtempSync(join(tmpdir(), "isotope-dev-"));
let dev: ChildProcess;
let url = "";
let said = "";

const save = (name: string, text: string): void => {
  mkdirSync(join(app, "functions"), { recursive: true });
  writeFileSync(join(app, "functions", name), text);
};
const get = async (path: string): Promise<string> => (await fetch(`${url}${path}`)).text();

/** Waits for output that comes after this call began. */
async function hears(pattern: RegExp, act: () => void): Promise<string> {
  const from = said.length;
  act();
  const deadline = performance.now() + 120_000;
  for (;;) {
    const match = pattern.exec(said.slice(from));
    if (match) return match[0];
    if (performance.now() > deadline || dev.exitCode !== null)
      throw new Error(`dev did not say ${String(pattern)}, but:\n${said.slice(from)}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

beforeAll(async () => {
  save("greet.ts", 'import { word } from "../shared.ts";\nexport default () => word;\n');
  writeFileSync(join(app, "shared.ts"), 'export const word = "one";\n');
  const portBase = await freePortBase();
  url = `http://127.0.0.1:${portBase}`;
  dev = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      join(ROOT, "cli", "main.ts"),
      "dev",
      "--port-base",
      String(portBase),
    ],
    {
      cwd: app,
      env: { ...process.env, ISOTOPE_STATE_DIR: join(app, "announced"), ISOTOPE_HOME: undefined },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    },
  );
  dev.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  dev.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  await hears(/Isotope runs at/, () => undefined);
  const early = 'export default () => "early";\n';
  await hears(/Watching for changes/, () => save("early.ts", early));
}, 300_000);

afterAll(() => {
  if (dev.exitCode === null && dev.pid !== undefined) process.kill(-dev.pid, "SIGKILL");
  rmSync(app, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
});

it("serves what the folder holds, and says where", async () => {
  expect(said).toMatch(/✓ greet {2}http:\/\/127\.0\.0\.1:\d+\/greet/);
  expect(await get("/greet")).toBe("one");
});

it("takes what was saved while it began", async () => {
  await expect.poll(() => get("/early")).toBe("early");
  rmSync(join(app, "functions", "early.ts"));
  await expect.poll(async () => (await fetch(`${url}/early`)).status).toBe(404);
});

it("answers with the new version once it has said that it serves, and never with the old one again", async () => {
  for (const word of ["two", "three", "four", "five"]) {
    await hears(/✓ greet in \d+ ms/, () => save("greet.ts", `export default () => "${word}";\n`));
    // The router hears of it at the same time.
    await expect.poll(() => get("/greet")).toBe(word);
    const answers = await Promise.all(Array.from({ length: 10 }, () => get("/greet")));
    expect(new Set(answers)).toEqual(new Set([word]));
  }
}, 300_000);

it("follows a file that several functions import, outside their folder", async () => {
  const using = 'import { word } from "../shared.ts";\nexport default () => word;\n';
  await hears(/✓ greet in/, () => save("greet.ts", using));
  await hears(/✓ other in/, () => save("other.ts", using));
  await hears(/✓ (greet|other) in[\s\S]*✓ (greet|other) in/, () =>
    writeFileSync(join(app, "shared.ts"), 'export const word = "shared";\n'),
  );
  await expect.poll(async () => [await get("/greet"), await get("/other")]).toEqual(["shared", "shared"]);
}, 300_000);

it("says where the mistake is, and the version before goes on serving", async () => {
  const text = await hears(/✗ .*greet\.ts:2:\d+.*/, () =>
    save("greet.ts", 'const word = "x";\nexport default () => { return word +; };\n'),
  );
  expect(text).toContain("greet.ts:2");
  expect(await get("/greet")).toBe("shared");
  await hears(/✗ .*there-is-none/, () =>
    save("greet.ts", 'import x from "./there-is-none.ts";\nexport default () => x;\n'),
  );
  await hears(/✗ .*"timeuot"/i, () =>
    save("greet.ts", 'export const config = { timeuot: 3 };\nexport default () => "x";\n'),
  );
  expect(await get("/greet")).toBe("shared");
  await hears(/✓ greet in/, () => save("greet.ts", 'export default () => "mended";\n'));
  await expect.poll(() => get("/greet")).toBe("mended");
}, 300_000);

it("shows what functions write, with their name", async () => {
  await hears(/✓ greet in/, () =>
    save("greet.ts", 'export default () => { console.warn("look here"); return "ok"; };\n'),
  );
  await expect.poll(() => get("/greet")).toBe("ok");
  await hears(/greet.*look here/, () => void get("/greet"));
}, 300_000);

it("takes the route away with the file, and gives it back", async () => {
  rmSync(join(app, "functions", "other.ts"));
  await expect.poll(async () => (await fetch(`${url}/other`)).status, { timeout: 60_000 }).toBe(404);
  await hears(/✓ other in/, () => save("other.ts", 'export default () => "back";\n'));
  await expect.poll(() => get("/other")).toBe("back");
}, 300_000);

it("ends with everything it started on Ctrl-C", async () => {
  const ended = new Promise<number | null>((done) => dev.once("exit", (code) => done(code)));
  // A terminal signals the whole group.
  if (dev.pid !== undefined) process.kill(-dev.pid, "SIGINT");
  expect(await ended).toBe(0);
  await expect(fetch(`${url}/greet`)).rejects.toThrow();
  await expect.poll(() => processesWith(app), { timeout: 60_000 }).toEqual([]);
}, 300_000);
