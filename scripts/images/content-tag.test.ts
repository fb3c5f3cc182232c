import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { contentTag } from "./content-tag.ts";

test("a tag is never taken for a number, whatever the content", () => {
  for (let n = 0; n < 5_000; n += 1) {
    const tag = contentTag(createHash("sha256").update(String(n)));
    expect(tag).toMatch(/^c[0-9a-f]{12}$/);
    expect(parse(tag)).toBe(tag);
  }
});
