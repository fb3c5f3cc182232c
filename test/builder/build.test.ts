import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gzipped, rawTar, rawZip } from "../archives/hostile-archives.ts";
import { type Built, CALL, openWorkshop, type Source, type Workshop } from "./build-source.ts";

let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop.close());

const failure = (built: Built): string =>
  built.result.outcome === "failed" ? `${built.result.fault}: ${built.result.message}` : "succeeded";
const answerOf = async (source: Source, request = {}): Promise<string> => {
  const built = await workshop.build(source, request);
  return built.result.outcome === "succeeded" ? await workshop.run(built, CALL) : failure(built);
};
const hello = `export default (request: Request): Response => new Response("hello");`;
// A module that exports 42 as "answer", and imports nothing.
const WASM = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 10, 1, 6, 97, 110, 115, 119, 101, 114,
  0, 0, 10, 6, 1, 4, 0, 65, 42, 11,
]);

describe("sources", () => {
  test("one TypeScript file becomes a bundle with a source map", async () => {
    const built = await workshop.build(hello);
    expect(built.result).toMatchObject({ outcome: "succeeded", warnings: 0 });
    expect([...built.files.keys()]).toEqual(["index.js", "index.js.map"]);
    expect(JSON.parse(String(built.files.get("index.js.map")))).toMatchObject({ sources: ["hello.ts"] });
    expect(await workshop.run(built, CALL)).toBe("hello");
  });
  test("the same source gives the same bytes, wherever and whenever it is built", async () => {
    const other = await openWorkshop();
    const source = {
      "index.ts": `import { a } from "./lib/a.ts"; export default () => new Response(a);`,
      "lib/a.ts": `export const a: string = "x";`,
    };
    const one = await workshop.build(source);
    const two = await other.build(source);
    await other.close();
    expect(one.artifact?.equals(two.artifact ?? Buffer.alloc(0))).toBe(true);
  });
  test.each<[string, Source, object]>([
    ["zip", { "index.ts": hello }, {}],
    [
      "tar.gz",
      gzipped(
        rawTar([
          { name: "./", type: "5" },
          { name: "./main.ts", content: hello },
        ]),
      ),
      { filename: "x.tar.gz" },
    ],
    ["folder in an archive", { "project/mod.tsx": hello, "project/README.md": "#" }, {}],
    [
      "main of package.json",
      { "package.json": `{"main":"src/server"}`, "src/server.ts": hello, "index.ts": `throw 1` },
      {},
    ],
    [
      "exports of package.json",
      {
        "package.json": `{"exports":{".":{"browser":"./b.ts","import":"./a.ts"}}}`,
        "a.ts": hello,
        "b.ts": "throw 1",
      },
      {},
    ],
    [
      "exports of deno.jsonc",
      { "deno.jsonc": `{ // comment\n "exports": "./app.ts", }`, "app.ts": hello, "x.ts": "throw 1" },
      {},
    ],
    ["entry that was asked for", { "index.ts": "throw 1", "fn/b.ts": hello }, { entry: "fn/b.ts" }],
    ["entry without its extension", { "index.ts": "throw 1", "fn/index.ts": hello }, { entry: "fn" }],
    ["a missing main falls back", { "package.json": `{"main":"dist/index.js"}`, "index.ts": hello }, {}],
    ["the only module", { "whatever.mts": hello, "data.json": "{}" }, {}],
    ["file of unknown name", hello, { filename: "../../etc/x" }],
  ])("entry lookup: %s", async (_what, source, request) => {
    expect(await answerOf(source, request)).toBe("hello");
  });
  test("a CommonJS function of the reference system, unchanged", async () => {
    const built = await workshop.build(
      `const fs = require("fs"); const path = require("path");\nmodule.exports = async function (context) { return { status: 200, body: typeof fs.readFileSync + path.basename(__filename) + typeof __dirname }; };`,
      { filename: "hello.js" },
    );
    expect(
      await workshop.run(
        built,
        `console.log(JSON.stringify(await (await import("./index.js")).default({})))`,
      ),
    ).toBe(`{"status":200,"body":"functionindex.jsstring"}`);
  });
  test("several modules without an index are entries of their own", async () => {
    const built = await workshop.build({
      "users.js": `exports.get = () => "u";`,
      "posts.ts": `import { x } from "./lib/x.ts"; export const get = () => x;`,
      "lib/x.ts": `export const x = "p";`,
    });
    expect(
      await workshop.run(
        built,
        `console.log((await import("./users.js")).default.get(), (await import("./posts.js")).get())`,
      ),
    ).toBe("u p");
  });
  test("features: top-level await, JSX, decorators, enums, JSON, text, bytes, images, WebAssembly, workers and files beside the module", async () => {
    const built = await workshop.build({
      "deno.json": `{"compilerOptions":{"jsx":"react","jsxFactory":"h"},"imports":{"@/":"./lib/","text":"./t.txt"}}`,
      "index.tsx": `
        import { join } from "path";
        import { readFileSync } from "node:fs";
        import data from "./data.json" with { type: "json" };
        import t from "text" with { type: "text" };
        import raw from "./t.txt" with { type: "bytes" };
        import page from "./page.html";
        import png from "./dot.png";
        import module, { answer } from "./answer.wasm";
        import { inner } from "@/inner.ts";
        enum Color { Red = 3 }
        function twice(value: () => number, _context: unknown) { return () => value() * 2; }
        class A { @twice three() { return Color.Red; } }
        const h = (tag: string, _props: unknown, ...children: string[]) => tag + children.join("");
        const late = await Promise.resolve("late");
        export default () => Response.json([
          data.a, t, raw.length, page, png.length, answer(), module instanceof WebAssembly.Module, inner, new A().three(), <b>x</b>, late,
          readFileSync(new URL("./files-of-mine/a.txt", import.meta.url), "utf8"),
          readFileSync(join(import.meta.dirname!, "files-of-mine", "a.txt"), "utf8"),
        ]);`,
      "data.json": `{"a":1}`,
      "t.txt": "text",
      "page.html": "<p>",
      "dot.png": Uint8Array.from([1, 2, 3]),
      "answer.wasm": WASM,
      "lib/inner.ts": `export const inner = "inner";`,
      "files-of-mine/a.txt": "mine",
    });
    expect(failure(built)).toBe("succeeded");
    const printed = await workshop.run(built, CALL);
    if (!printed.startsWith("[")) throw new Error(printed);
    expect(JSON.parse(printed)).toEqual([
      1,
      "text",
      4,
      "<p>",
      3,
      42,
      true,
      "inner",
      6,
      "bx",
      "late",
      "mine",
      "mine",
    ]);
  });
  test("a module worker is bundled of its own", async () => {
    const built = await workshop.build({
      "index.ts": `export default () => new Promise((resolve) => {
        const worker = new Worker(new URL("./work/w.ts", import.meta.url), { type: "module" });
        worker.onmessage = (event) => { worker.terminate(); resolve(new Response(event.data)); };
      });`,
      "work/w.ts": `import { word } from "./word.ts"; postMessage(word as string);`,
      "work/word.ts": `export const word: string = "from the worker";`,
    });
    expect(await workshop.run(built, CALL)).toBe("from the worker");
  });
});

describe("sources that do not build", () => {
  const cases: [string, Source, object, string | RegExp][] = [
    ["empty", "", {}, "user: The source is empty"],
    ["syntax error", "const a = 1;\nconst b = ;\n", {}, 'user: hello.ts:2:11: Unexpected ";"'],
    [
      "column after letters of several bytes",
      `const é = "ü"; const b = ;`,
      {},
      'user: hello.ts:1:26: Unexpected ";"',
    ],
    [
      "missing file",
      `import "./nowhere.ts";`,
      {},
      'user: hello.ts:1:8: Cannot find "./nowhere.ts" in the source',
    ],
    [
      "missing package, one file",
      `import "left-pad";`,
      {},
      'user: hello.ts:1:8: Cannot find package "left-pad": import it as "npm:left-pad", or add a package.json that names it',
    ],
    [
      "missing package, package.json",
      { "index.ts": `import "left-pad";`, "package.json": "{}" },
      {},
      'user: index.ts:1:8: Cannot find package "left-pad": add it to the dependencies of package.json (npm install left-pad)',
    ],
    [
      "package for development only",
      { "index.ts": `import "left-pad";`, "package.json": `{"devDependencies":{"left-pad":"1"}}` },
      {},
      /move it from devDependencies to dependencies/,
    ],
    [
      "jsr:",
      `export { join } from "jsr:@std/path@1";`,
      {},
      /^user: hello.ts:1:22: Cannot import "jsr:@std\/path@1": JSR packages cannot be fetched at build time; use "node:path"/,
    ],
    [
      "URL of a CDN",
      `\nexport * from "https://esm.sh/zod@4.1.0";`,
      {},
      /^user: hello.ts:2:15: .*use "npm:zod@4.1.0"/,
    ],
    ["other URL", `import "https://example.com/x.ts";`, {}, /modules are not fetched from URLs/],
    [
      "unknown built-in",
      `import "node:nope";`,
      {},
      'user: hello.ts:1:8: There is no built-in module "node:nope"',
    ],
    ["malformed npm:", `import "npm:";`, {}, /Cannot read "npm:"/],
    ["file: URL", `import "file:///etc/passwd";`, {}, /Cannot import "file:\/\/\/etc\/passwd"/],
    [
      "native addon",
      { "index.ts": `import a from "./a.node"; export default a;`, "a.node": "x" },
      {},
      /Cannot bundle native addon ".\/a.node"/,
    ],
    ["no entry", { "README.md": "#" }, {}, /Cannot find an entry file/],
    [
      "entry that is not there",
      { "index.ts": hello },
      { entry: "other.ts" },
      'user: Cannot find the entry file "other.ts" in the source',
    ],
    ["entry outside", { "index.ts": hello }, { entry: "../../etc/passwd" }, /must be inside the source/],
    ["two modules of one name", { "a.ts": "", "a.js": "", "b.ts": "" }, {}, /would both become "a.js"/],
    [
      "broken package.json",
      { "index.ts": hello, "package.json": `{\n  "name": \n}` },
      {},
      "user: package.json:3:1: value expected",
    ],
    ["package.json that is a list", { "index.ts": hello, "package.json": `[]` }, {}, /^user: package.json: /],
    ["broken deno.json", { "index.ts": hello, "deno.json": `{"imports": [}` }, {}, /^user: deno.json:1:14: /],
    [
      "import map outside",
      { "index.ts": hello, "deno.json": `{"importMap":"../../x.json"}` },
      {},
      /"importMap" must name a file inside the source/,
    ],
    [
      "import map that is not there",
      { "index.ts": hello, "deno.json": `{"importMap":"x.json"}` },
      {},
      /the import map "x.json" does not exist/,
    ],
    ["build command", hello, { command: "sh -c 'rm -rf /'" }, /^user: Cannot run build command/],
    [
      "zip slip",
      rawZip([{ name: "../../x.ts", content: hello }]),
      {},
      /^user: The source archive is refused: Entry "..\/..\/x.ts"/,
    ],
    [
      "link in an archive",
      rawZip([{ name: "index.ts", content: "/etc/passwd", mode: 0o120777 }]),
      {},
      /^user: The source archive is refused/,
    ],
    [
      "file outside by path",
      {
        "index.ts": `import x from "../../../../../../../../etc/passwd" with { type: "text" }; export default x;`,
      },
      {},
      /outside the source|Cannot find/,
    ],
    [
      "file outside by absolute path",
      { "index.ts": `import x from "/etc/passwd" with { type: "text" }; export default x;` },
      {},
      'user: index.ts: Cannot import "/etc/passwd": it is outside the source',
    ],
    [
      "file outside by import map",
      {
        "index.ts": `import x from "x" with { type: "text" }; export default x;`,
        "deno.json": `{"imports":{"x":"/etc/passwd"}}`,
      },
      {},
      /outside the source/,
    ],
    [
      "file outside by a shipped package",
      {
        "index.ts": `import x from "p"; export default x;`,
        "node_modules/p/package.json": `{"main":"../../../../../../../../../etc/hostname"}`,
      },
      {},
      /^user: /,
    ],
    [
      "git dependency",
      { "index.ts": hello, "package.json": `{"dependencies":{"a":"git+ssh://git@host/x.git"}}` },
      {},
      /must come from the npm registry/,
    ],
    [
      "GitHub dependency",
      { "index.ts": hello, "package.json": `{"dependencies":{"a":"user/repo"}}` },
      {},
      /must come from the npm registry/,
    ],
    [
      "folder dependency",
      { "index.ts": hello, "package.json": `{"dependencies":{"a":"file:/etc"}}` },
      {},
      /must come from the npm registry/,
    ],
    [
      "tarball dependency",
      { "index.ts": hello, "package.json": `{"dependencies":{"a":"http://169.254.169.254/x.tgz"}}` },
      {},
      /must come from the npm registry/,
    ],
    [
      "package name with a path",
      { "index.ts": hello, "package.json": `{"dependencies":{"../../x":"1"}}` },
      {},
      /no valid package name/,
    ],
    [
      "lockfile with another host",
      {
        "index.ts": hello,
        "package.json": `{"dependencies":{"a":"1"}}`,
        "package-lock.json": `{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","resolved":"http://10.0.0.1/a.tgz","integrity":"sha512-x"}}}`,
      },
      {},
      /comes from "http:\/\/10.0.0.1\/a.tgz"/,
    ],
    [
      "lockfile with a link",
      {
        "index.ts": hello,
        "package.json": `{"dependencies":{"a":"1"}}`,
        "package-lock.json": `{"lockfileVersion":3,"packages":{"node_modules/a":{"resolved":"/etc","link":true}}}`,
      },
      {},
      /is a link to a folder/,
    ],
    [
      "lockfile without integrity",
      {
        "index.ts": hello,
        "package.json": `{"dependencies":{"a":"1"}}`,
        "package-lock.json": `{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","resolved":"https://registry.npmjs.org/a/-/a-1.0.0.tgz"}}}`,
      },
      {},
      /has no integrity/,
    ],
    [
      "lockfile of another package manager",
      { "index.ts": hello, "package.json": `{"dependencies":{"a":"1"}}`, "pnpm-lock.yaml": "" },
      {},
      /^user: Cannot follow "pnpm-lock.yaml": make a package-lock.json/,
    ],
    [
      "lockfile that is no JSON",
      { "index.ts": hello, "package.json": `{"dependencies":{"a":"1"}}`, "package-lock.json": `nope` },
      {},
      "user: package-lock.json is no JSON",
    ],
  ];
  test.each(cases)("%s", async (_what, source, request, expected) => {
    const built = await workshop.build(source, request);
    if (typeof expected === "string") expect(failure(built)).toBe(expected);
    else expect(failure(built)).toMatch(expected);
    expect(built.artifact).toBeUndefined();
    expect(JSON.stringify(built.log)).not.toContain("root:x:0");
  });
  test("the log shows the line and every error", async () => {
    const built = await workshop.build({
      "index.ts": `import "./a.ts";\nimport "./b.ts";\n`,
      "a.ts": "let x = (;",
      "b.ts": "let y = ];",
    });
    expect(failure(built)).toMatch(/^user: a.ts:1:10: .* \(and 1 more error, see the build log\)$/);
    expect(built.log.slice(0, 3)).toEqual([
      expect.stringMatching(/^error: a.ts:1:10: /),
      "  1 | let x = (;",
      "    |          ^",
    ]);
    expect(built.log.join("\n")).toContain("b.ts:1:9");
  });
  test("a hostile tsconfig shows nothing of the builder's files", async () => {
    const built = await workshop.build({ "index.ts": hello, "tsconfig.json": `{"extends":"/etc/passwd"}` });
    expect(built.log.join("\n")).not.toContain("root:");
  });
});

describe("type check", () => {
  test("off by default, on request it names the place", async () => {
    const source = {
      "index.ts": `import { a } from "./a.ts";\nexport default (): Response => new Response(a);\n`,
      "a.ts": `export const a: string = 5;`,
    };
    expect((await workshop.build(source)).result.outcome).toBe("succeeded");
    expect(failure(await workshop.build(source, { typeCheck: true }))).toBe(
      "user: a.ts:1:14: TS2322: Type 'number' is not assignable to type 'string'.",
    );
  });
  test("code that fits passes", async () => {
    const source = {
      "index.ts": `import { readFileSync } from "node:fs";\nimport page from "./p.html";\nDeno.serve(() => new Response(page + typeof readFileSync + Deno.env.get("X")));\n`,
      "p.html": "x",
    };
    expect(failure(await workshop.build(source, { typeCheck: true }))).toBe("succeeded");
  });
});
