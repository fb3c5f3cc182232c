import type { Project } from "./project.ts";

/** Exact versions that a lockfile other than npm's own gives. */
export interface LockPins {
  /** `name@range` of a direct dependency → version. */
  readonly versions: ReadonlyMap<string, string>;
  /** npm `overrides` that hold all further packages at their versions. */
  readonly overrides: unknown;
}

export async function pinnedVersions(
  _project: Project,
  _log: (line: string) => void,
): Promise<LockPins | undefined> {
  return undefined;
}
