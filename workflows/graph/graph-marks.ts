/** How far a run is with a state. */
export type Mark = "active" | "done" | "failed";
/** By path of the state: its keys below the machine, joined by dots. */
export type Marks = ReadonlyMap<string, Mark>;

/** What pictures need to know of a run. */
export interface RunProgress {
  readonly status: string;
  /** Paths of the active leaf states. */
  readonly states: readonly string[];
}

/** What pictures need to know of a line of history. `state` of a transition names the active leaves, joined by commas. */
export interface ProgressLine {
  readonly type: string;
  readonly state?: string | undefined;
}

/** Ends that a state takes the blame for which was active then. */
const UNHAPPY = new Set(["failed", "timed-out", "cancelled", "terminated"]);

/** The colours of a run: where it is, where it has been, where it ended unhappily. Items of a map count for the map's own states. */
export function marksOf(run: RunProgress, history: Iterable<ProgressLine>): Marks {
  const marks = new Map<string, Mark>();
  let last: readonly string[] = [];
  for (const { type, state } of history) {
    const paths = pathsIn(state);
    for (const path of paths) markWithParents(marks, path, "done");
    if (type === "effect-failed") for (const path of paths) marks.set(path, "failed");
    else if (type === "transition" && paths.length > 0) last = paths;
    else if (type === "effect-completed") for (const path of paths) marks.set(path, "done");
  }
  const active = run.states.flatMap(pathsIn);
  if (run.status === "running") for (const path of active) markWithParents(marks, path, "active");
  else if (UNHAPPY.has(run.status))
    for (const path of active.length > 0 ? active : last) markWithParents(marks, path, "failed");
  else for (const path of active) markWithParents(marks, path, "done");
  return marks;
}

const pathsIn = (state: string | undefined): string[] =>
  (state ?? "")
    .split(",")
    .filter((path) => path !== "")
    .map((path) => path.replace(/\[\d+\]/g, ""));

function markWithParents(marks: Map<string, Mark>, path: string, mark: Mark): void {
  const keys = path.split(".");
  for (let length = keys.length; length > 0; length--) {
    const at = keys.slice(0, length).join(".");
    if (mark === "done" && marks.has(at)) continue;
    marks.set(at, mark);
  }
}
