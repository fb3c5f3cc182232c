import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { FunctionConfig as Accepted } from "../api/function-config.ts";
import type { FunctionConfig } from "./index.ts";

// The compiler proves that the two say the same; `npm run check` fails here when one of them changes alone.
const accepted: (config: FunctionConfig) => Accepted = (config) => config;
const offered: (config: Accepted) => FunctionConfig = (config) => config;

const ROOT = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "isotope-sdk-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Same<A, B> = [A, B] extends [B, A] ? true : false;
const sameKeys: Same<keyof Accepted, keyof FunctionConfig> = true;

it("offers what the API accepts, and nothing else", () => {
  expect([typeof accepted, typeof offered, sameKeys]).toEqual(["function", "function", true]);
});

const check = (source: string): string => {
  writeFileSync(join(folder, "fn.ts"), source);
  try {
    execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" });
    return "";
  } catch (error) {
    return error instanceof Error && "stdout" in error ? String(error.stdout) : String(error);
  }
};

it("type-checks functions in a project of their own, and finds their mistakes", () => {
  execFileSync(join(ROOT, "node_modules/.bin/tsc"), [
    "-p",
    join(ROOT, "tsconfig.sdk.json"),
    "--outDir",
    join(folder, "dist"),
  ]);
  const home = join(folder, "node_modules/@isotope/platform");
  mkdirSync(join(folder, "node_modules/@isotope"), { recursive: true });
  mkdirSync(home);
  symlinkSync(join(folder, "dist"), join(home, "dist"));
  writeFileSync(
    join(home, "package.json"),
    JSON.stringify({ name: "@isotope/platform", exports: { ".": { types: "./dist/sdk/index.d.ts" } } }),
  );
  const options = {
    strict: true,
    noEmit: true,
    module: "ESNext",
    moduleResolution: "bundler",
    target: "ESNext",
    lib: ["ESNext", "DOM"],
    types: [],
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: options, files: ["fn.ts"] }),
  );
  expect(
    check(`import type { Context, FetchHandler, FunctionConfig, Handler, NodeHandler } from "@isotope/platform";
export const config = { route: ["/users/{id}", { prefix: "/u", methods: ["GET"] }], timeout: "10s", env: { A: "b", C: { secret: "s", key: "k" } }, cron: "*/5 * * * *" } satisfies FunctionConfig;
const one: Handler = (request, ctx) => { ctx.waitUntil(Promise.resolve()); return new Response(request.method + ctx.params.id) };
const two: FetchHandler = { async fetch(request, env, ctx: Context) { return { a: env.A, id: ctx.requestId } } };
const three: NodeHandler = async (context) => ({ status: 200, body: context.request.get("host") });
export default one; export { two, three };`),
  ).toBe("");
  expect(
    check(
      `import type { FunctionConfig } from "@isotope/platform"; export const config = { rout: "/x" } satisfies FunctionConfig;`,
    ),
  ).toContain("'rout' does not exist");
  expect(
    check(
      `import type { FunctionConfig } from "@isotope/platform"; export const config = { methods: ["FETCH"] } satisfies FunctionConfig;`,
    ),
  ).toContain("FETCH");
  expect(
    check(
      `import type { Handler } from "@isotope/platform"; const h: Handler = (r) => r.nothing; export default h;`,
    ),
  ).toContain("nothing");
}, 120_000);
