import { describe, expect, it } from "vitest";
import { FunctionConfig } from "../../api/function-config.ts";
import { parseModule } from "./read-config.ts";

const config = (literal: string) =>
  parseModule(
    "f.ts",
    `import type { FunctionConfig } from "@isotope/platform";\nexport const config = ${literal};\nexport default () => new Response();\n`,
    FunctionConfig,
  ).config;

describe("parseModule", () => {
  it("reads literals in all their forms", () => {
    expect(
      config(
        '{ route: ["/a", { path: `/b`, methods: ["GET"] }], timeout: 30, "requestsPerPod": 5, onceOnly: false, streaming: { idleTimeout: "5m" } } as const satisfies FunctionConfig',
      ),
    ).toEqual({
      route: ["/a", { path: "/b", methods: ["GET"] }],
      timeout: 30,
      requestsPerPod: 5,
      onceOnly: false,
      streaming: { idleTimeout: "5m" },
    });
  });

  it("finds imports and assets, but not types", () => {
    const parsed = parseModule(
      "f.ts",
      'import a from "./a.ts"; import type { B } from "./b.ts"; export * from "./c.ts"; const d = await import("./d.ts"); const e = require("./e.cjs"); const w = new URL("./x.wasm", import.meta.url);',
      FunctionConfig,
    );
    expect(parsed.imports.toSorted()).toEqual(["./a.ts", "./c.ts", "./d.ts", "./e.cjs"]);
    expect(parsed.assets).toEqual(["./x.wasm"]);
    expect(parsed.config).toEqual({});
  });

  it.each([
    ["{ timeout: limit }", /f\.ts:2:34: "timeout": the variable "limit" is no literal/],
    ["{ route: `/${x}` }", /a template with \$\{\} is no literal/],
    ["{ ...base }", /a spread is no literal/],
    ["make()", /CallExpression is no literal/],
    ['{ rout: "/a" }', /Cannot use config at f\.ts:2:23: .*rout/],
    ["{ requestsPerPod: 0 }", /"requestsPerPod": .*>=1/],
    ['{ route: "hello" }', /"route": .*must start with \//],
    ['{ timeout: "soon" }', /"timeout": .*must be a duration/],
    ['{ methods: ["FETCH"] }', /"methods\.0"/],
  ])("refuses %s and says where", (literal, message) => {
    expect(() => config(literal)).toThrow(message);
  });

  it("names the place of a syntax error", () => {
    expect(() => parseModule("f.ts", "export default (\n", FunctionConfig)).toThrow(/Cannot read f\.ts:/);
  });
});
