import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TRIES = 5;
const PAUSE_MS = 3_000;
const LOCK_WAIT_S = 1200;

/**
 * Installs Debian packages; services that come with them are not started. Test processes take turns, since apt-get refuses to begin where another
 * one reads the lists. What fails is tried again with new lists: mirrors have bad moments.
 */
export function installPackages(names: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const lock = ["--timeout", String(LOCK_WAIT_S), join(tmpdir(), "isotope-apt.lock")];
  const options = ["-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
  const apt = (...args: string[]): boolean =>
    spawnSync("flock", [...lock, "apt-get", ...options, ...args], {
      stdio: ["ignore", "ignore", "inherit"],
      env,
    }).status === 0;
  const install = (): boolean => apt("install", "-y", "--no-install-recommends", ...names);
  for (let tries = 1; !install(); tries++) {
    if (tries === TRIES)
      throw new Error(`Cannot install ${names.join(" ")}: apt-get failed; its message is above`);
    apt("update");
    if (tries > 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, tries * PAUSE_MS);
  }
}
