import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { makeImageTable, openImageTable, parseImageRules, substitute } from "./images.ts";

const folder = mkdtempSync(join(tmpdir(), "images-"));
afterEach(() => rmSync(join(folder, "images.json"), { force: true }));

describe("image table", () => {
  const table = makeImageTable(
    parseImageRules({
      images: [
        { match: "isotope/deno-env:*", command: ["deno"] },
        { match: "busybox", command: ["sh"] },
        { match: "registry.example/tool@sha256:*", command: ["tool"] },
        { match: "plain:latest", command: ["plain"] },
      ],
    }),
  );

  it.each([
    ["isotope/deno-env:1.2", "deno"],
    ["isotope/deno-env", "deno"],
    ["busybox", "sh"],
    ["registry.example/tool@sha256:abc", "tool"],
    ["plain", "plain"],
  ])("finds %s", (image, command) => expect(table.find(image)?.command).toEqual([command]));

  it.each(["isotope/deno-en:1", "busybox:2", "xbusybox", "other/isotope/deno-env:1", ""])(
    "does not find %s",
    (image) => expect(table.find(image)).toBeUndefined(),
  );

  it.each([
    [[], 'it must be an object with a list "images"'],
    [{ images: [{ command: ["x"] }] }, "images[0].match must be an image reference, got nothing"],
    [
      { images: [{ match: "a", command: [] }] },
      "images[0].command must be a list of at least one string, got []",
    ],
    [{ images: [{ match: "a", command: ["x"], env: { A: 1 } }] }, "images[0].env.A must be a string, got 1"],
    [
      { images: [{ match: "a", command: ["x"], containerCommand: "keep" }] },
      'images[0].containerCommand must be one of refuse, ignore, append, replace, got "keep"',
    ],
    [
      { images: [{ match: "a", command: ["x"], comand: ["y"] }] },
      "images[0].comand must be absent: known are match, command",
    ],
  ])("refuses %j", (value, message) => expect(() => parseImageRules(value)).toThrow(message));

  it("follows its file and keeps the last good rules", () => {
    const file = join(folder, "images.json");
    const write = (text: string, second: number): void => {
      writeFileSync(file, text);
      utimesSync(file, second, second);
    };
    const logged: string[] = [];
    write('{"images":[{"match":"a","command":["one"]}]}', 1000);
    const opened = openImageTable(file, (message) => logged.push(message));
    expect(opened.find("a")?.command).toEqual(["one"]);
    write('{"images":[{"match":"a","command":["two"]}]}', 2000);
    expect(opened.find("a")?.command).toEqual(["two"]);
    write('{"images":[{"match":"a"}]}', 3000);
    expect(opened.find("a")?.command).toEqual(["two"]);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain("images[0].command");
  });
});

it("substitutes known names only", () => {
  expect(substitute("${ROOT}/x:${PORT}:${NOPE}:$PORT", { ROOT: "/r", PORT: "80" })).toBe(
    "/r/x:80:${NOPE}:$PORT",
  );
});
