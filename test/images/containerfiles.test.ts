import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COMPONENTS } from "../../api/components.ts";
import { imageCommand } from "../../env-images/deno/flags.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const containerfile = (folder: string): string =>
  readFileSync(join(ROOT, "env-images", folder, "Containerfile"), "utf8");

/** The words of an instruction in its JSON form. */
function words(text: string, instruction: string): unknown {
  const found = new RegExp(`^${instruction} (\\[[\\s\\S]*?\\])$`, "m").exec(text)?.[1] ?? "null";
  return JSON.parse(found.replaceAll("\\\n", ""));
}

test("the Deno image runs with exactly the flags of flags.ts", () => {
  expect(words(containerfile("deno"), "ENTRYPOINT")).toEqual(imageCommand());
});

test.each(globSync("env-images/*/Containerfile", { cwd: ROOT }))(
  "%s runs as nobody in particular",
  (path) => {
    const text = readFileSync(join(ROOT, path), "utf8");
    expect(text).toMatch(/^USER 10001:10001$/m);
    expect(text).not.toMatch(/^(RUN|ADD) /m);
    expect(words(text, "ENTRYPOINT")).toBeInstanceOf(Array);
  },
);

test("every component's module is there", () => {
  for (const { entry } of COMPONENTS) expect(existsSync(join(ROOT, `${entry}.ts`)), entry).toBe(true);
});
