import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  CONNECTION_FILE,
  findLocalPlatform,
  findStartingPlatform,
  SUPERVISOR_FILE,
} from "./local-connection.ts";

let cwd: string;
let home: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "isotope-connection-"));
  home = join(cwd, ".isotope");
  mkdirSync(join(home, "run"), { recursive: true });
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const connection = (pid: number): string =>
  JSON.stringify({ home, kubeconfig: "k", routerUrl: "r", routerInternalUrl: "i", opsUrl: "o", pid });
const NO_PROCESS = 2 ** 22 + 1;

describe("a platform that starts", () => {
  it("is found while its supervisor runs and no connection is written, also from a folder below", () => {
    writeFileSync(join(home, SUPERVISOR_FILE), `${process.pid} x\n`);
    const below = join(cwd, "functions");
    mkdirSync(below);
    expect(findStartingPlatform({ cwd: below, env: {} })).toBe(home);
    expect(findStartingPlatform({ cwd: "/", home, env: {} })).toBe(home);
  });
  it("is not starting any more when it answers", () => {
    writeFileSync(join(home, SUPERVISOR_FILE), `${process.pid} x\n`);
    writeFileSync(join(home, CONNECTION_FILE), connection(process.pid));
    expect(findStartingPlatform({ cwd, env: {} })).toBeUndefined();
    expect(findLocalPlatform({ cwd, env: {} })?.opsUrl).toBe("o");
  });
  it("is not starting when its supervisor is gone, whatever it left behind", () => {
    writeFileSync(join(home, SUPERVISOR_FILE), `${NO_PROCESS} x\n`);
    writeFileSync(join(home, CONNECTION_FILE), connection(NO_PROCESS));
    expect(findStartingPlatform({ cwd, env: {} })).toBeUndefined();
  });
});
