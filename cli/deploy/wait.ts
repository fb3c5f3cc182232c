import type { FunctionObjects } from "./desired-objects.ts";
import type { LiveObjects } from "./live.ts";
import type { Package } from "../../api/kinds/index.ts";
import { deploymentProgress, type Progress, workflowProgress } from "./progress.ts";
import type { WorkflowObjects } from "./workflow-objects.ts";

export interface WaitOptions {
  timeoutMs: number;
  signal: AbortSignal;
  /** New text of the build log. */
  onLog: (text: string) => void;
}

/** What follows `seen` in a log of which only the tail may be left. */
export function newLogText(seen: string, log: string): string {
  if (log.startsWith(seen)) return log.slice(seen.length);
  // The head was cut off: continue after the longest end of `seen` that the tail still begins with.
  const line = seen.slice(seen.lastIndexOf("\n", seen.length - 2) + 1);
  const at = line ? log.indexOf(line) : -1;
  return at < 0 ? log : log.slice(at + line.length);
}

/** Resolves when the function serves what was deployed, or has failed, or after `timeoutMs` with how far it has come. */
export const waitForFunction = (
  live: LiveObjects,
  objects: FunctionObjects,
  options: WaitOptions,
): Promise<Progress> =>
  waitFor(live, objects.package, options, () => {
    const now = live.functionOf(objects);
    return { package: now.package, progress: deploymentProgress(objects, now) };
  });

/** The same for a workflow, of which runs can be started then. */
export const waitForWorkflow = (
  live: LiveObjects,
  objects: WorkflowObjects,
  options: WaitOptions,
): Promise<Progress> =>
  waitFor(live, objects.package, options, () => {
    const now = live.workflowOf(objects);
    return { package: now.package, progress: workflowProgress(objects, now) };
  });

function waitFor(
  live: LiveObjects,
  wanted: Package,
  options: WaitOptions,
  read: () => { package: Package | undefined; progress: Progress },
): Promise<Progress> {
  return new Promise((resolve) => {
    let seenLog = "";
    let end: () => void = () => undefined;
    let ended = false;
    const finish = (progress: Progress): void => {
      ended = true;
      clearTimeout(timer);
      options.signal.removeEventListener("abort", look);
      end();
      resolve(progress);
    };
    const look = (): void => {
      if (ended) return;
      const { package: pkg, progress } = read();
      const { buildstatus, sourceDigest, buildlog } = pkg?.status ?? {};
      const digest = wanted.spec.source?.checksum?.sum;
      // Until the build begins, the log is that of an earlier one.
      const isOfThisBuild =
        pkg?.spec.source?.checksum?.sum === digest &&
        (buildstatus === "running" || sourceDigest === digest || progress.state === "failed");
      const log = isOfThisBuild ? (buildlog ?? "") : "";
      const fresh = newLogText(seenLog, log);
      seenLog = log;
      // The log of an earlier build of the same source is old news.
      if (fresh && progress.state !== "ready") options.onLog(fresh);
      if (progress.state !== "waiting" || options.signal.aborted) finish(progress);
    };
    const timer = setTimeout(() => finish(read().progress), options.timeoutMs);
    options.signal.addEventListener("abort", look);
    end = live.onChange(look);
    if (ended) end();
    else look();
  });
}
