import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";

const NICE = 10;

/** Lets a child wait for its parent, which watches it; and where memory ends, it is the child that is killed. As far as the system allows it. */
export function lowerPriority(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, NICE);
    writeFileSync(`/proc/${pid}/oom_score_adj`, "1000");
  } catch {
    // Not this system's way, or the child has gone already.
  }
}
