import { afterAll, describe, expect, it } from "vitest";
import { call, specialize, startPod, stopPods } from "./deno-pod.ts";

/** Large enough to be loaded as a bundle. */
const LARGE = `const table = ${JSON.stringify(Array.from({ length: 20_000 }, (_, at) => at))};\n`;

describe("a large bundle", { timeout: 120_000 }, () => {
  afterAll(stopPods);

  it("sees what every module sees", async () => {
    const pod = await startPod();
    const reply = await specialize(
      pod,
      `import { join } from "node:path";
import process, { cwd } from "node:process";
${LARGE}
const waited = await new Promise((done) => setTimeout(() => done(5), 5));
export default async () => Response.json({
  joined: join("a", "b"), same: cwd() === process.cwd(), waited, table: table.length, url: import.meta.url,
  filename: import.meta.filename, dirname: import.meta.dirname, main: import.meta.main, resolved: import.meta.resolve("./x.js"),
  hash: typeof (await import("node:crypto")).createHash, data: (await import("data:text/javascript,export default 7").catch((error) => ({ default: error.name }))).default,
  missing: await import("./missing.js").catch((error) => error.name),
});`,
    );
    expect(reply.status).toBe(200);
    const code = `${pod.root}/code`;
    expect(await (await call(pod)).json()).toEqual({
      joined: "a/b",
      same: true,
      waited: 5,
      table: 20_000,
      url: `file://${code}/index.js`,
      filename: `${code}/index.js`,
      dirname: code,
      main: false,
      resolved: `file://${code}/x.js`,
      hash: "function",
      data: 7,
      missing: "TypeError",
    });
  });

  it.each([
    ["does not parse", `${LARGE}export default () => {{;\n`, /index\.js:3/],
    [
      "throws while it loads",
      `${LARGE}throw new RangeError("at load");\nexport default 1`,
      /RangeError: at load/,
    ],
    [
      "imports what its built-in lacks",
      `import { nothing } from "node:path";\n${LARGE}export default nothing`,
      /nothing/,
    ],
    ["imports a package", `import left from "left-pad";\n${LARGE}export default left`, /left-pad/],
  ])("that %s says why", async (_what, code, message) => {
    const reply = await specialize(await startPod(), code);
    expect(reply.status).toBe(422);
    expect(await reply.json()).toMatchObject({
      code: "load_failed",
      message: expect.stringMatching(message),
    });
  });

  it("may be denied what every function is denied", async () => {
    const pod = await startPod();
    await specialize(
      pod,
      `${LARGE}export default async () => Response.json(await Promise.all([
  import("file:///etc/passwd.js").catch((error) => error.message),
  import("https://127.0.0.1/x.js").catch((error) => error.message),
  Promise.resolve().then(() => Deno.readTextFileSync("/etc/passwd")).catch((error) => error.name),
]), { headers: { "x-length": String(table.length) } });`,
    );
    expect(await (await call(pod)).json()).toEqual([
      expect.stringMatching(/Requires read access/),
      expect.stringMatching(/remote specifier was requested|Requires import access/),
      "NotCapable",
    ]);
  });
});
