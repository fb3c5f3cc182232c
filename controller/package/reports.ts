import { type ConditionUpdate, rfc3339, setConditions } from "../../kube/conditions.ts";
import type { Package, PackageStatus } from "../../api/kinds/index.ts";
import type { BuildJob } from "./build-jobs.ts";

/** What is to be said of a package; fields left out stay as they are. */
export interface PackageReport {
  buildstatus?: NonNullable<PackageStatus["buildstatus"]>;
  buildlog?: string;
  content?: { digest: string; sizeBytes: number };
  sourceDigest?: string;
  buildInputs?: string;
  ready: Omit<ConditionUpdate, "type">;
  build?: Omit<ConditionUpdate, "type">;
}

/** The status after a report. `lastUpdateTimestamp` moves only when something else does. Pure. */
export function nextPackageStatus(pkg: Package, report: PackageReport, now: Date): PackageStatus {
  const before = pkg.status ?? {};
  const updates: ConditionUpdate[] = [{ type: "Ready", ...report.ready }];
  if (report.build) updates.push({ type: "BuildSucceeded", ...report.build });
  const conditions = setConditions(before.conditions, updates, { generation: pkg.metadata.generation, now });
  const next: PackageStatus = {
    ...before,
    conditions: [...conditions],
    ...(report.buildstatus === undefined ? {} : { buildstatus: report.buildstatus }),
    ...(report.buildlog === undefined ? {} : { buildlog: report.buildlog }),
    ...(report.content ? { contentHash: report.content.digest, sizeBytes: report.content.sizeBytes } : {}),
    ...(report.sourceDigest === undefined ? {} : { sourceDigest: report.sourceDigest }),
    ...(report.buildInputs === undefined ? {} : { buildInputs: report.buildInputs }),
  };
  const moved =
    conditions !== before.conditions ||
    next.buildstatus !== before.buildstatus ||
    next.contentHash !== before.contentHash ||
    report.buildlog !== undefined;
  return moved ? { ...next, lastUpdateTimestamp: rfc3339(now) } : next;
}

export const READY = {
  status: "True",
  reason: "Deployable",
  message: "The deployment archive is in storage",
} as const;
export const BUILDING: PackageReport = {
  ready: { status: "False", reason: "Building", message: "The source is being built" },
  build: { status: "Unknown", reason: "Building", message: "The source is being built" },
};

export function buildSucceeded(
  job: BuildJob,
  content: { digest: string; sizeBytes: number },
  sourceDigest: string,
): PackageReport {
  const message = `Built an archive of ${content.sizeBytes} bytes`;
  return {
    buildstatus: "succeeded",
    buildlog: job.log.text(),
    content,
    sourceDigest,
    buildInputs: job.inputs,
    ready: READY,
    build: { status: "True", reason: "Built", message },
  };
}

export function buildFailed(job: BuildJob, message: string): PackageReport {
  const failed = { status: "False", reason: "BuildFailed", message } as const;
  return {
    buildstatus: "failed",
    buildlog: job.log.text(),
    buildInputs: job.inputs,
    ready: failed,
    build: failed,
  };
}

export function buildFaulted(job: BuildJob, message: string): PackageReport {
  const failed = {
    status: "False",
    reason: "BuilderUnavailable",
    message: `The build could not be run and is tried again: ${message}`,
  } as const;
  return { buildstatus: "pending", buildlog: job.log.text(), ready: failed, build: failed };
}
