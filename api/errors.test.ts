import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ERRORS } from "./errors.ts";

it("documents every error, and no error that does not exist", () => {
  const docs = readFileSync(join(import.meta.dirname, "../docs/reference/errors.md"), "utf8");
  const documented = [...docs.matchAll(/^### (\S+)$/gm)].map((match) => match[1]);
  expect(documented).toEqual(Object.keys(ERRORS));
});

it.each(Object.entries(ERRORS))("%s keeps the rules of the table", (code, entry) => {
  expect(code).toMatch(/^[a-z_]+$/);
  expect(entry.meaning).toMatch(/\.$/);
  expect(entry.remedy).toMatch(/\.$/);
  // A fault of the platform is never a plain 500, which belongs to functions.
  if (entry.fault === "platform") expect([502, 503, 504, 507]).toContain(entry.status);
});
