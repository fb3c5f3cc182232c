import { describe, expect, test } from "vitest";
import {
  bytes,
  durationMs,
  integer,
  list,
  oneOf,
  optionalText,
  origin,
  parseSettings,
  port,
  SettingsError,
  text,
  toggle,
} from "./settings.ts";

const records = {
  port: port({ flag: "port", env: "ISOTOPE_T_PORT", help: "Port", fallback: 8888 }),
  key: text({
    flag: "key",
    env: "ISOTOPE_T_KEY",
    help: "Key",
    pattern: /^k/,
    allowed: "a word with k",
    secret: true,
  }),
  wait: durationMs({
    flag: "wait",
    env: "ISOTOPE_T_WAIT",
    help: "Wait",
    fallback: 5_000,
    minMs: 1,
    maxMs: 60_000,
  }),
  size: bytes({ flag: "size", env: "ISOTOPE_T_SIZE", help: "Size", fallback: 10, min: 1, max: 2 ** 30 }),
  on: toggle({ flag: "on", env: "ISOTOPE_T_ON", help: "On", fallback: false }),
  level: oneOf({
    flag: "level",
    env: "ISOTOPE_T_LEVEL",
    help: "Level",
    words: ["info", "warn"],
    fallback: "info",
  }),
  hosts: list({ flag: "hosts", env: "ISOTOPE_T_HOSTS", help: "Hosts", fallback: [], item: /^[a-z]+$/ }),
  executor: origin({
    flag: "executor",
    env: "ISOTOPE_T_EXECUTOR",
    help: "Executor",
    fallback: "http://127.0.0.1:1",
  }),
  redis: optionalText({ flag: "redis", env: "ISOTOPE_T_REDIS", help: "Redis" }),
  n: integer({ flag: "n", env: "ISOTOPE_T_N", help: "N", fallback: 1, min: -3, max: 3 }),
};
const parse = (argv: string[], env: Record<string, string> = {}) =>
  parseSettings(records, { argv, env: { ISOTOPE_T_KEY: "key", ...env }, envPrefix: "ISOTOPE_T_" });

describe("settings", () => {
  test("defaults, environment, flags, in rising order of strength", () => {
    expect(parse([])).toMatchObject({ port: 8888, wait: 5000, on: false, hosts: [], redis: undefined });
    expect(
      parse(["--port", "1", "--on", "--wait=1m"], {
        ISOTOPE_T_PORT: "2",
        ISOTOPE_T_SIZE: "2Mi",
      }),
    ).toMatchObject({ port: 1, on: true, wait: 60_000, size: 2 ** 21 });
    expect(parse(["--hosts=a, b", "--executor=http://h:1/", "--n=-3"])).toMatchObject({
      hosts: ["a", "b"],
      executor: "http://h:1",
      n: -3,
    });
  });

  test.each([
    [["--port=70000"], {}, `--port must be a whole number in 0..65535, got "70000"`],
    [["--port=1.5"], {}, `got "1.5"`],
    [["--wait=5"], {}, "--wait must be a duration such as"],
    [["--wait=2m"], {}, `got "2m"`],
    [["--size=1KB"], {}, "--size must be a size"],
    [["--port", "--on"], {}, "--port must be"],
    [["--on=yes"], {}, `--on must be "true" or "false", got "yes"`],
    [["--level=loud"], {}, `must be one of "info", "warn", got "loud"`],
    [["--hosts=A"], {}, `got "A"`],
    [["--executor=http://h/path"], {}, `without a path, got "http://h/path"`],
    [["--nope"], {}, `unknown flag "--nope"`],
    [["word"], {}, `unexpected argument "word"`],
    [["--port=1", "--port=2"], {}, "--port is given more than once"],
    [[], { ISOTOPE_T_PROT: "1" }, `unknown environment variable "ISOTOPE_T_PROT"`],
    [[], { ISOTOPE_T_KEY: "" }, "--key (or ISOTOPE_T_KEY) is required"],
  ])("%j %j refuses to start", (argv, env, message) => {
    expect(() => parse(argv, env)).toThrow(message);
  });

  test("all problems are named at once, a secret's value in none", () => {
    const error = (() => {
      try {
        parse(["--port=x", "--level=y"], { ISOTOPE_T_KEY: "topsecret" });
      } catch (caught) {
        return caught;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(SettingsError);
    if (error instanceof SettingsError) {
      expect(error.problems).toHaveLength(3);
      expect(error.message).not.toContain("topsecret");
    }
  });
});
