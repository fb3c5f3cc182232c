import { spawnSync } from "node:child_process";

const OLDEST_MINOR = 28;

/** Whether a kubectl that these tests are written for is on the PATH, and if not, why. */
export function findKubectl(): { usable: true } | { usable: false; reason: string } {
  const { status, stdout } = spawnSync("kubectl", ["version", "--client", "-o", "json"], {
    encoding: "utf8",
  });
  if (status !== 0) return { usable: false, reason: "there is no kubectl on the PATH" };
  const minor = Number.parseInt(/"minor":\s*"(\d+)/.exec(stdout)?.[1] ?? "0", 10);
  if (minor >= OLDEST_MINOR) return { usable: true };
  return { usable: false, reason: `kubectl 1.${minor} is older than 1.${OLDEST_MINOR}` };
}
