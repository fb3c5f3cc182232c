import { describe, expect, it } from "vitest";
import { parseCommandLine, requireComplete } from "./parse-flags.ts";

const command = {
  positionals: [{ name: "name", help: "Name", flag: "name" }],
  flags: {
    name: { type: "string", help: "Name", required: true },
    count: { type: "integer", help: "Count", min: 1, max: 10, aliases: ["c"] },
    tag: { type: "strings", help: "Tags", short: "t" },
    weight: { type: "integers", help: "Weights", min: 0, max: 100 },
    wait: { type: "boolean", help: "Wait", default: true },
    timeout: { type: "duration", help: "Timeout", default: 5000 },
    kind: { type: "string", help: "Kind", choices: ["poolmgr", "newdeploy"] },
  },
} as const;
const parse = (...args: string[]) => parseCommandLine(command, args);

describe("parseCommandLine", () => {
  it("reads every form of a flag", () => {
    const { flags, given } = parse(
      "hello",
      "--count=3",
      "-t",
      "a",
      "-tb",
      "--tag",
      "c=d",
      "--weight",
      "20,80",
      "--wait=false",
      "--timeout",
      "2m",
    );
    expect(flags).toEqual({
      name: "hello",
      count: 3,
      tag: ["a", "b", "c=d"],
      weight: [20, 80],
      wait: false,
      timeout: 120_000,
      kind: undefined,
    });
    expect(given.has("timeout")).toBe(true);
    expect(given.has("kind")).toBe(false);
  });

  it("takes --no-name for --name=false, of switches only", () => {
    expect(parse("--no-wait").flags).toMatchObject({ wait: false });
    expect(() => parse("--no-count")).toThrow("unknown flag --no-count");
    expect(() => parse("--no-wait=true")).toThrow("unknown flag --no-wait");
    expect(() => parse("--wait", "--no-wait")).toThrow("given more than once");
  });

  it("fills in defaults and takes what follows -- as it is", () => {
    const { flags, rest } = parse("--", "--count", "99");
    expect(flags).toMatchObject({ wait: true, timeout: 5000, tag: [] });
    expect(rest).toEqual(["--count", "99"]);
  });

  it.each([
    [["--cuont", "3"], "unknown flag --cuont; did you mean --count?"],
    [["-x"], "unknown flag -x"],
    [["--count"], "--count needs a value"],
    [["--count", "0"], '--count must be 1..10, got "0"'],
    [["--count", "3.5"], '--count must be 1..10, got "3.5"'],
    [["--count", "1", "--c", "2"], "--c is given more than once"],
    [["--weight", "50,101"], '--weight must be 0..100, got "101"'],
    [["--timeout", "soon"], '--timeout must be a duration such as 30s or 5m, got "soon"'],
    [["--wait=maybe"], '--wait must be true or false, got "maybe"'],
    [
      ["--kind", "poolmgrr"],
      '--kind must be one of "poolmgr", "newdeploy", got "poolmgrr"; did you mean "poolmgr"?',
    ],
    [["a", "b"], 'unexpected argument "b"'],
    [["a", "--name", "b"], '"a" and --name name the same thing twice'],
  ])("refuses %j", (args, message) => {
    expect(() => parse(...args)).toThrow(message);
  });

  it("asks for what is required only when told to", () => {
    const parsed = parse("--count", "1");
    expect(() => requireComplete(command, parsed)).toThrow("--name is required: Name");
  });
});
