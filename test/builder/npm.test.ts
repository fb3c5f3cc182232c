import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pinsOfDenoLock } from "../../env-images/builder/lock-pins.ts";
import { findNativePackages } from "../../env-images/builder/native-packages.ts";
import { CALL, openWorkshop, type Workshop } from "./build-source.ts";

let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop.close());

const outcome = ({ result }: { result: { outcome: string; message?: string; fault?: string } }): string =>
  result.outcome === "failed" ? `${result.fault}: ${result.message}` : result.outcome;

/** Runs something with other variables for npm. */
async function withEnv(values: Record<string, string>, work: () => Promise<void>): Promise<void> {
  const saved = Object.keys(values).map((name): [string, string | undefined] => [name, process.env[name]]);
  Object.assign(process.env, values);
  try {
    await work();
  } finally {
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

describe("packages from the registry", () => {
  test("npm: imports, two versions of one package, CommonJS, WebAssembly beside a package; the second build installs nothing", async () => {
    const source = `
      import { z } from "npm:zod@3.25.76/v3";
      import ms from "npm:ms@2.1.3";
      import old from "npm:ms@2.0.0";
      import { Hono } from "npm:hono@4";
      import QRCode from "npm:qrcode@1";
      import { Resvg, initWasm } from "npm:@resvg/resvg-wasm@2";
      import resvg from "npm:@resvg/resvg-wasm@2/index_bg.wasm";
      await initWasm(resvg);
      const app = new Hono();
      app.get("/", async (c) => c.json([
        z.string().safeParse(1).success, ms("2m"), old("1h"), (await QRCode.toString("x", { type: "svg" })).slice(0, 4),
        new Resvg('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>').render().asPng()[1],
      ]));
      export default app;`;
    const first = await workshop.build(source);
    expect(outcome(first)).toBe("succeeded");
    expect(await workshop.run(first, CALL)).toBe(`[false,120000,3600000,"<svg",80]`);
    const second = await workshop.build(source);
    expect(second.log.join("\n")).not.toContain("installing");
    expect(second.artifact?.equals(first.artifact ?? Buffer.alloc(0))).toBe(true);
  }, 300_000);

  test("package.json with its lockfile is followed exactly, development packages are left out", async () => {
    const lock = {
      name: "x",
      lockfileVersion: 3,
      packages: {
        "": { name: "x", dependencies: { ms: "^2.0.0" }, devDependencies: { "left-pad": "1.3.0" } },
        "node_modules/ms": {
          version: "2.1.2",
          resolved: "https://registry.npmjs.org/ms/-/ms-2.1.2.tgz",
          integrity:
            "sha512-sGkPx+VjMtmA6MX27oA4FBFELFCZZ4S4XqeGOXCv68tT+jb3vk/RyaKWP0PTKyWtmLSM0b+adUTEvbs1PEaH2w==",
        },
        "node_modules/left-pad": {
          version: "1.3.0",
          resolved: "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz",
          integrity:
            "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==",
          dev: true,
        },
      },
    };
    const source = {
      "index.ts": `import ms from "ms"; import { version } from "ms/package.json"; export default () => new Response(ms("1m") + version);`,
      "package.json": JSON.stringify({
        dependencies: { ms: "^2.0.0" },
        devDependencies: { "left-pad": "1.3.0" },
      }),
      "package-lock.json": JSON.stringify(lock),
    };
    const built = await workshop.build(source);
    expect(outcome(built)).toBe("succeeded");
    expect(await workshop.run(built, CALL)).toBe("600002.1.2");
    const unfit = await workshop.build({ ...source, "package.json": `{"dependencies":{"ms":"^1.0.0"}}` });
    expect(outcome(unfit)).toBe(
      "user: package-lock.json does not fit package.json; run npm install and deploy both again",
    );
    const forged = JSON.stringify(lock).replace("sGkPx", "AAAAA");
    await withEnv({ npm_config_fetch_retries: "0" }, async () => {
      expect(outcome(await workshop.build({ ...source, "package-lock.json": forged }))).toMatch(
        /^user: Cannot install packages: EINTEGRITY/,
      );
    });
  }, 300_000);

  test("deno.json imports and deno.lock", async () => {
    const built = await workshop.build({
      "deno.json": `{"imports":{"duration":"npm:ms@^2"}}`,
      "deno.lock": JSON.stringify({
        version: "5",
        specifiers: { "npm:ms@2": "2.1.1", "npm:ms@^2": "2.1.1" },
        npm: {
          "ms@2.1.1": {
            integrity:
              "sha512-tgp+dl5cGk28utYktBsrFqA7HKgrhgPsg6Z/EfhWI4gl1Hwq8B/GmY/0oXZ6nF8hDVesS/FpnYaD/kOWhYQvyg==",
          },
        },
      }),
      "index.ts": `import ms from "duration"; import { version } from "duration/package.json"; export default () => new Response(ms("1m") + version);`,
    });
    expect(outcome(built)).toBe("succeeded");
    expect(await workshop.run(built, CALL)).toBe("600002.1.1");
  }, 300_000);

  test("what no registry has", async () => {
    expect(outcome(await workshop.build(`import x from "npm:ms@99.0.0"; export default x;`))).toMatch(
      /^user: Cannot install packages: ETARGET/,
    );
  }, 300_000);

  test("a native addon says what to use instead", async () => {
    const built = await workshop.build(
      `import { hash } from "npm:bcrypt@5.1.1"; export default () => new Response(String(hash));`,
    );
    expect(outcome(built)).toMatch(
      /^user: hello.ts:1:22: Package "bcrypt" is a native addon \(.*\), which functions cannot load; use "bcryptjs"/,
    );
  }, 300_000);

  test("an unreachable registry is the platform's fault, unless npm's cache has it all", async () => {
    const cut = await openWorkshop();
    await withEnv({ npm_config_registry: "http://127.0.0.1:9/", npm_config_fetch_retries: "0" }, async () => {
      expect(
        outcome(await cut.build(`import x from "npm:never-fetched-before@1"; export default x;`)),
      ).toMatch(/^platform: Cannot install packages now/);
    });
    await cut.close();
  }, 300_000);
});

test("native packages are known by what they are", async () => {
  const modules = join(createRequire(import.meta.url).resolve("vitest/package.json"), "../..");
  const names = (await findNativePackages(modules)).map(({ name }) => name);
  expect(names).toContain("oxc-parser");
  expect(names).toContain("esbuild");
  for (const name of ["zod", "fastify", "ioredis", "yaml"]) expect(names).not.toContain(name);
});

test("deno.lock of version 4 with several versions and peers", async () => {
  const pins = pinsOfDenoLock(
    JSON.stringify({
      version: "4",
      specifiers: {
        "npm:react-dom@19": "19.0.0_react@19.0.0",
        "npm:@a/b@*": "1.2.3",
        "jsr:@std/path@1": "1.0.0",
      },
      npm: {
        "react-dom@19.0.0_react@19.0.0": { dependencies: ["react", "scheduler@0.25.0"] },
        "react@19.0.0": {},
        "scheduler@0.25.0": {},
        "scheduler@0.23.0": {},
      },
    }),
  );
  expect(Object.fromEntries(pins.versions)).toEqual({
    "react-dom@19": "19.0.0",
    "@a/b@*": "1.2.3",
    "@a/b@": "1.2.3",
  });
  expect(pins.overrides).toEqual({ "react-dom@19.0.0": { react: "19.0.0", scheduler: "0.25.0" } });
});
