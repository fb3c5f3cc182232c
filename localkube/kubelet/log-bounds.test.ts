import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { boundLogs } from "./log-bounds.ts";

it("removes the oldest logs of gone pods until the rest is small enough", async () => {
  const folder = mkdtempSync(join(tmpdir(), "log-bounds-"));
  ["d_a_1", "d_b_2", "d_c_3", "d_live_4"].forEach((name, index) => {
    const file = join(folder, name, "main", "0.log");
    mkdirSync(join(folder, name, "main"), { recursive: true });
    writeFileSync(file, "x".repeat(1000));
    utimesSync(file, 1000 + index, 1000 + index);
  });
  await boundLogs(folder, (uid) => uid === "4", 2500);
  expect(readdirSync(folder).sort()).toEqual(["d_b_2", "d_c_3", "d_live_4"]);
  await boundLogs(folder, (uid) => uid === "4", 0);
  expect(readdirSync(folder)).toEqual(["d_live_4"]);
  rmSync(folder, { recursive: true });
});
