import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openCriLog } from "./cri-log.ts";

const folder = mkdtempSync(join(tmpdir(), "cri-log-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const logFile = (): string => join(folder, `${files++}`, "0.log");
const LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)$/;

function records(file: string): [string, string, string][] {
  const lines = readFileSync(file, "utf8").split("\n");
  expect(lines.pop()).toBe("");
  return lines.map((line) => {
    const [, stream = "", tag = "", text = ""] = LINE.exec(line) ?? [];
    return [stream, tag, text];
  });
}

describe("CRI log", () => {
  it("writes whole lines, keeping unfinished ones until they end or the log is closed", () => {
    const file = logFile();
    const log = openCriLog(file, 1_000_000);
    log.write("stdout", Buffer.from("one\ntw"));
    log.write("stderr", Buffer.from("err\n"));
    log.write("stdout", Buffer.from("o\n\nrest"));
    expect(records(file)).toEqual([
      ["stdout", "F", "one"],
      ["stderr", "F", "err"],
      ["stdout", "F", "two"],
      ["stdout", "F", ""],
    ]);
    log.close();
    expect(records(file).at(-1)).toEqual(["stdout", "F", "rest"]);
  });

  it("cuts long lines into pieces of 16 KiB", () => {
    const file = logFile();
    const log = openCriLog(file, 1_000_000);
    log.write("stdout", Buffer.from(`${"x".repeat(40_000)}\n`));
    log.close();
    expect(records(file).map(([, tag, text]) => [tag, text.length])).toEqual([
      ["P", 16_384],
      ["P", 16_384],
      ["F", 7_232],
    ]);
  });

  it("never gives two lines the same time, and times rise", () => {
    const file = logFile();
    const log = openCriLog(file, 1_000_000);
    log.write("stdout", Buffer.from("x\n".repeat(2000)));
    log.close();
    const times = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.slice(0, 30));
    expect(times).toEqual([...new Set(times)].sort());
    expect(times).toHaveLength(2000);
  });

  it("turns the file over at its size and keeps one older", () => {
    const file = logFile();
    const log = openCriLog(file, 2_000);
    for (let index = 0; index < 100; index++)
      log.write("stdout", Buffer.from(`line ${index} ${"x".repeat(50)}\n`));
    log.close();
    expect(statSync(file).size).toBeLessThanOrEqual(2_000);
    expect(statSync(`${file}.1`).size).toBeLessThanOrEqual(2_000);
    expect(records(file).at(-1)?.[2]).toContain("line 99 ");
    const last = records(`${file}.1`).at(-1)?.[2].split(" ")[1];
    expect(records(file)[0]?.[2].split(" ")[1]).toBe(String(Number(last) + 1));
  });

  it("goes on at the end of a file that is there", () => {
    const file = logFile();
    for (const word of ["first", "second"]) {
      const log = openCriLog(file, 1_000_000);
      log.write("stdout", Buffer.from(`${word}\n`));
      log.close();
    }
    expect(records(file).map(([, , text]) => text)).toEqual(["first", "second"]);
  });
});
