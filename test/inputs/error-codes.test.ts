import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { expect, it } from "vitest";
import { ERRORS } from "../../api/errors.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const FOLDERS = ["api", "net", "kube", "controller", "engine", "env-images", "cli", "local", "workflows"];

function* sources(folder: string): Generator<{ path: string; text: string }> {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return;
  }
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== "node_modules") yield* sources(path);
    else if (/(?<!\.test)\.ts$/.test(entry.name))
      yield { path: relative(ROOT, path), text: readFileSync(path, "utf8") };
  }
}

const files = FOLDERS.flatMap((folder) => [...sources(join(ROOT, folder))]).filter(
  ({ path }) => path !== join("api", "errors.ts"),
);

it("every code of the table is used by the source", () => {
  const unused = Object.keys(ERRORS).filter((code) => !files.some(({ text }) => text.includes(`"${code}"`)));
  expect(unused).toEqual([]);
});

/** Where the source names a code: as the first argument of an error, or as the `reason` of a reply made by hand. */
const USES = [
  /\bnew PlatformError\(\s*"([^"]+)"/g,
  /\bfailure\(\s*\d+,\s*"([^"]+)"/g,
  /\bcomponent: "[a-z]+",\s*reason: "([^"]+)"/g,
  /\bunavailable: "([^"]+)"/g,
];

it("every code that the source uses is in the table", () => {
  const used = files.flatMap(({ path, text }) =>
    USES.flatMap((pattern) => [...text.matchAll(pattern)].map(([, code = ""]) => ({ code, path }))),
  );
  expect(used.length).toBeGreaterThan(40);
  expect(used.filter(({ code }) => !Object.hasOwn(ERRORS, code))).toEqual([]);
});
