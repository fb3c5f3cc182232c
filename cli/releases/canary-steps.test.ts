import { describe, expect, it } from "vitest";
import { parseSteps } from "./canary-steps.ts";

describe("steps of a canary", () => {
  it("are weights, with how long they last or a pause", () => {
    expect(parseSteps("5%, 25:5m,50%:pause", "--canary")).toEqual([
      { weight: 5 },
      { weight: 25, duration: "5m" },
      { weight: 50, pause: true },
    ]);
  });

  it.each([
    ["0%", "1..100"],
    ["101%", "1..100"],
    ["", "1..100"],
    ["five", '"five"'],
    ["5%,5%", "growing weights, got 5 % after 5 %"],
    ["50%,25%", "25 % after 50 %"],
    ["5%:soon", '"5%:soon"'],
  ])("are refused when they are %j", (text, said) => {
    expect(() => parseSteps(text, "--canary")).toThrow(said);
  });
});
