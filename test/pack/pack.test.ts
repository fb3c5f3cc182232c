import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { freePortBase } from "../e2e/free-ports.ts";
import { processesWith } from "../e2e/processes.ts";
import { tutorialBlocks } from "./tutorial-blocks.ts";

/**
 * What somebody does who installs the package: without rights on the machine, with the Node that the machine has, in an empty folder.
 */
const ROOT = join(import.meta.dirname, "..", "..");
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
const work = mkdtempSync(join(tmpdir(), "isotope-pack-"));
const app = join(work, "app");
const home = join(work, "home");
const running = new Set<ChildProcess>();

/** The machine's environment: no programs of the repository, no settings of the npm that runs the tests. */
const env = Object.fromEntries(
  Object.entries({
    ...process.env,
    HOME: home,
    XDG_STATE_HOME: undefined,
    NODE_OPTIONS: undefined,
    PATH: (process.env.PATH ?? "")
      .split(delimiter)
      .filter((folder) => !folder.includes("node_modules"))
      .join(delimiter),
  }).filter(
    ([name, value]) =>
      value !== undefined && (!/^npm_/i.test(name) || /^npm_config_(registry|.*proxy|cafile)$/i.test(name)),
  ),
);
const asUser = (command: string, args: string[]): [string, string[]] =>
  isRoot
    ? ["setpriv", [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", command, ...args]]
    : [command, args];

const run = (command: string, ...args: string[]): string => {
  const [program, all] = asUser(command, args);
  try {
    return execFileSync(program, all, { cwd: app, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    if (!(error instanceof Error && "stdout" in error && "stderr" in error)) throw error;
    throw new Error(`${command} ${args.join(" ")} failed:\n${String(error.stdout)}${String(error.stderr)}`, {
      cause: error,
    });
  }
};

interface Running {
  said(): string;
  /** Resolves when it has said `text`, `times` times. */
  says(text: string | RegExp): Promise<void>;
  /** Ctrl-C: the terminal signals every process of the group. Resolves to the exit code. */
  interrupt(): Promise<number | null>;
  ended: Promise<number | null>;
}

function begin(command: string, ...args: string[]): Running {
  const [program, all] = asUser(command, args);
  const child = spawn(program, all, { cwd: app, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  const ended = new Promise<number | null>((done) =>
    child.once("exit", (code) => {
      running.delete(child);
      done(code);
    }),
  );
  return {
    said: () => said,
    ended,
    async says(text) {
      const deadline = performance.now() + 180_000;
      while (!(typeof text === "string" ? said.includes(text) : text.test(said))) {
        if (performance.now() > deadline || child.exitCode !== null)
          throw new Error(`It did not say ${String(text)}, but:\n${said}`);
        await new Promise((done) => setTimeout(done, 50));
      }
    },
    async interrupt() {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
      return ended;
    },
  };
}

const textOf = async (url: string): Promise<string> => (await fetch(url)).text();

beforeAll(() => {
  chmodSync(work, 0o755);
  for (const folder of [app, home]) {
    mkdirSync(folder);
    if (isRoot) chownSync(folder, NOBODY, NOBODY);
  }
  const [{ filename }] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--silent", "--pack-destination", work], {
      cwd: ROOT,
      encoding: "utf8",
    }),
  );
  chmodSync(join(work, filename), 0o644);
  run("npm", "install", "--no-audit", "--no-fund", join(work, filename));
}, 600_000);

afterAll(async () => {
  for (const child of running) if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  rmSync(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}, 180_000);

it("installs, begins a project, and its functions pass the compiler", () => {
  expect(run("npx", "isotope", "version", "--client-only")).toContain(
    JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version,
  );
  expect(run("npx", "isotope", "init")).toContain("functions/hello.ts");
  expect(run("npx", "tsc")).toBe("");
  const path = join(app, "functions", "wrong.ts");
  writeFileSync(
    path,
    'import type { FunctionConfig } from "@isotope/platform";\nexport const config = { timeuot: 5 } satisfies FunctionConfig;\nexport default () => Deno.env.get("A");\n',
  );
  expect(() => run("npx", "tsc")).toThrow("'timeuot' does not exist");
  rmSync(path);
}, 300_000);

it("runs what is being written: dev, an edit, deploy, Ctrl-C", async () => {
  const portBase = await freePortBase();
  const url = `http://127.0.0.1:${portBase}`;
  const dev = begin("npx", "isotope", "dev", "--port-base", String(portBase));
  await dev.says(/✓ hello .*\/hello/);
  expect(await textOf(`${url}/hello/Ada`)).toBe("Hello Ada\n");
  await dev.says("greeting Ada");
  const path = join(app, "functions", "hello.ts");
  writeFileSync(path, readFileSync(path, "utf8").replace("`Hello ${name}", "`Good day ${name}"));
  await dev.says(/✓ hello in \d+ ms/);
  // The router hears of it at the same time.
  await expect.poll(() => textOf(`${url}/hello/Ada`)).toBe("Good day Ada\n");
  expect(run("npx", "isotope", "deploy")).toContain("unchanged");
  expect(run("npx", "isotope", "fn", "list", "-o", "name")).toBe("functions/hello\n");
  await dev.interrupt();
  await expect.poll(() => processesWith(app), { timeout: 60_000 }).toEqual([]);
}, 400_000);

it("starts, deploys, says how it is, and stops", async () => {
  const portBase = await freePortBase();
  const platform = begin("npx", "isotope", "start", "--port-base", String(portBase));
  await platform.says("Isotope is ready");
  writeFileSync(
    join(app, "functions", "sum.ts"),
    'export const config = { route: "/sum", typeCheck: true };\nexport default (request: Request) => ({ sum: [...new URL(request.url).searchParams.values()].reduce((a, b) => a + Number(b), 0) });\n',
  );
  expect(run("npx", "isotope", "deploy")).toContain("/sum");
  expect(await (await fetch(`http://127.0.0.1:${portBase}/sum?a=1&b=41`)).json()).toEqual({ sum: 42 });
  await expect
    .poll(() => run("npx", "isotope", "status"), { timeout: 60_000 })
    .toContain("2 of 2 functions ready");
  expect(run("npx", "isotope", "stop")).toContain("Stopped");
  expect(await platform.ended).toBe(0);
  await expect.poll(() => processesWith(app), { timeout: 60_000 }).toEqual([]);
}, 400_000);

it("takes the workflows' tutorial word by word: a step, a failure, an approval, an undoing, a route, a test", async () => {
  const [charge, first, approval, refund, undoing, route, test] = tutorialBlocks();
  if (!charge || !first || !approval || !refund || !undoing || !route || !test)
    throw new Error("The tutorial has other blocks of code");
  const write = ({ file = "" }: { file: string | undefined }, code: string): void => {
    mkdirSync(dirname(join(app, file)), { recursive: true });
    writeFileSync(join(app, file), code);
  };
  const order = (amount: number, card = "4242424242424242"): string =>
    JSON.stringify({ order: "1", amount, card });
  const start = (id: string, ...more: string[]): string =>
    run("npx", "isotope", "workflow", "run", "order", "--id", id, ...more);
  const runs = (...words: string[]): string => run("npx", "isotope", "workflow", "runs", ...words);
  const until = (id: string, text: string): Promise<void> =>
    expect.poll(() => runs("describe", id), { timeout: 120_000, interval: 500 }).toContain(text);

  run("npm", "install", "--no-audit", "--no-fund", "xstate", "zod");
  const portBase = await freePortBase();
  const platform = begin("npx", "isotope", "start", "--port-base", String(portBase));
  await platform.says("Isotope is ready");
  write(charge, charge.code);
  write(first, first.code);
  expect(run("npx", "tsc")).toBe("");
  expect(run("npx", "isotope", "deploy")).toContain("workflow/order");
  expect(JSON.parse(start("first", "--wait", "--input", order(40)))).toEqual({ order: "1", charge: "ch_40" });
  expect(() => start("second", "--wait", "--input", order(40, "4000000000000002"))).toThrow(
    'run "second" failed: CardDeclined: The function answered 402: the bank says no',
  );

  write(first, approval.code);
  run("npx", "isotope", "deploy");
  start("third", "--input", order(900));
  await until("third", "after patience");
  expect(() => runs("signal", "third", "--event", "APPROVE")).toThrow('"by"');
  runs("signal", "third", "--event", "APPROVE", "--data", '{"by": "kim"}');
  expect(runs("watch", "third")).toContain('"approvedBy": "kim"');

  write(refund, refund.code);
  const step = approval.code.match(/^ {4}charge: fn.*\n/m)?.[0] ?? "";
  const undone = approval.code
    .replace(step, undoing.code)
    .replace("{ defineWorkflow,", "{ compensate, defineWorkflow,");
  write(first, `${undone}${route.code}`);
  write(test, test.code);
  expect(run("npx", "isotope", "deploy")).toContain("/orders");
  expect(run("npx", "tsc")).toBe("");
  start("fourth", "--input", order(900));
  await until("fourth", "after patience");
  runs("cancel", "fourth");
  await until("fourth", "cancelled");
  expect(runs("history", "fourth", "--io")).toMatch(
    /undoes 1\.0 .*\n +\{"input":\{.*\},"output":\{"charge":"ch_900"\}\}[\s\S]*compensated/,
  );
  const answer = await fetch(`http://127.0.0.1:${portBase}/orders`, { method: "POST", body: order(40) });
  expect({ status: answer.status, body: await answer.json() }).toEqual({
    status: 200,
    body: { order: "1", charge: "ch_40" },
  });
  expect(run(process.execPath, "--test", test.file ?? "")).toContain("pass 1");
  expect(run("npx", "isotope", "stop")).toContain("Stopped");
  expect(await platform.ended).toBe(0);
}, 600_000);
