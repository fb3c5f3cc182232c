import { describe, expect, it } from "vitest";
import { parseCriLine, tailOffset } from "./cri-log-reader.ts";

const line = (tag: string, text: string): string => `2026-01-01T00:00:00.000000000Z stdout ${tag} ${text}\n`;

describe("CRI log reader", () => {
  it("reads time, tag and text", () => {
    expect(parseCriLine(Buffer.from(line("P", "a b c").trimEnd()))).toEqual({
      time: "2026-01-01T00:00:00.000000000Z",
      ends: false,
      text: Buffer.from("a b c"),
    });
  });

  it.each(["", "x", "2026 stdout F", "not a log line"])("does not take %j for a line", (text) =>
    expect(parseCriLine(Buffer.from(text))).toBeUndefined(),
  );

  const text = line("F", "one") + line("P", "tw") + line("F", "o") + line("F", "three") + line("P", "unfin");
  it.each([
    [0, ""],
    [1, line("P", "unfin")],
    [2, line("F", "three") + line("P", "unfin")],
    [3, line("P", "tw") + line("F", "o") + line("F", "three") + line("P", "unfin")],
    [4, text],
    [99, text],
  ])("finds the last %d lines", (count, expected) => {
    const data = Buffer.from(text);
    expect(data.toString("utf8", tailOffset(data, count))).toBe(expected);
  });
});
