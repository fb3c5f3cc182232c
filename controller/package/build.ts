/**
 * Conducts the builds of packages: starts them, writes their progress, and publishes what they made.
 *
 * Invariants
 * C1. A failed or running build changes neither `spec.deployment` nor `status.contentHash`.
 * C2. A build is settled when `status.buildInputs` equals the hash of its inputs; "pending" asks for another one. Whatever was
 *     under way when the process died is neither, and is built again.
 * C3. The final status is written after all progress of the same job, and on condition that nobody changed the package meanwhile.
 */
import { archiveUrl } from "../../api/archive-url.ts";
import type { Environment, Package } from "../../api/kinds/index.ts";
import { backoffMs } from "../../kube/backoff.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { PACKAGES } from "../../kube/kinds.ts";
import type { OwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Outcome } from "../../kube/reconcile.ts";
import type { ControllerContext } from "../context.ts";
import { type ArchiveAccess, ArchiveProblem } from "./archive-access.ts";
import { buildInputsOf, buildSettings, sourceFilename } from "./build-inputs.ts";
import { type Build, type BuildJob, createBuildJobs, type Finished } from "./build-jobs.ts";
import { type ArchiveLocation, identityOf, locateArchive } from "./locate.ts";
import type { Archives, PackageBuilder } from "./ports.ts";
import {
  BUILDING,
  buildFailed,
  buildFaulted,
  buildSucceeded,
  nextPackageStatus,
  type PackageReport,
} from "./reports.ts";

export interface ConductorOptions {
  archives: Archives;
  builder: PackageBuilder;
  access: ArchiveAccess;
  maxConcurrentBuilds: number;
  /** How often a running build's log is written at most. */
  logIntervalMs: number;
  enqueue: (key: string) => void;
  own: OwnWrites;
  report: (pkg: Package, content: PackageReport) => Promise<Package>;
}

export interface BuildConductor {
  /** The next step of a package's build; "settled" when its newest inputs were built and their result is published. */
  step(
    key: string,
    pkg: Package,
    environment: Environment,
    source: ArchiveLocation,
  ): Promise<Outcome | "settled">;
  forget(key: string): void;
  stop(): Promise<void>;
  readonly running: number;
}

const RETRY = { baseMs: 1_000, maxMs: 60_000 };

export function createBuildConductor(context: ControllerContext, options: ConductorOptions): BuildConductor {
  const { client, world, now, events } = context;
  const { own, report } = options;
  const retries = new Map<string, { inputs: string; attempts: number; notBeforeMs: number }>();

  /** Written without a precondition: nobody else writes it, and a lost race must not cost a line. */
  const writeProgress = (key: string, pkg: Package, job: BuildJob, status: unknown) => {
    job.progress = job.progress
      .then(async () => own.note(key, await client.patchStatus(PACKAGES, pkg.metadata, status)))
      .catch((error: unknown) => {
        if (!isNotFound(error)) context.log.warn("Cannot write a build's progress", { package: key, error });
      });
  };
  const jobs = createBuildJobs({
    maxConcurrent: options.maxConcurrentBuilds,
    logIntervalMs: options.logIntervalMs,
    onLog: (key, job) => {
      const pkg = world.packages.get(key);
      if (pkg && jobs.get(key) === job) writeProgress(key, pkg, job, { buildlog: job.log.text() });
    },
    onFinished: options.enqueue,
  });
  const forget = (key: string) => {
    jobs.drop(key);
    retries.delete(key);
  };

  const start = (key: string, pkg: Package, inputs: string, build: Build): Outcome => {
    const retry = retries.get(key);
    const waitMs = retry?.inputs === inputs ? retry.notBeforeMs - performance.now() : 0;
    if (waitMs > 0) return after(waitMs);
    const job = jobs.start(key, inputs, build);
    const { conditions } = nextPackageStatus(pkg, BUILDING, now());
    writeProgress(key, pkg, job, { buildstatus: "running", buildlog: "", conditions });
    return done;
  };

  const retryLater = async (key: string, pkg: Package, job: BuildJob, message: string): Promise<Outcome> => {
    const attempts = (retries.get(key)?.attempts ?? 0) + 1;
    const delayMs = backoffMs(attempts, RETRY);
    retries.set(key, { inputs: job.inputs, attempts, notBeforeMs: performance.now() + delayMs });
    await report(pkg, buildFaulted(job, message));
    jobs.drop(key);
    return after(delayMs);
  };

  const finish = async (key: string, job: BuildJob, outcome: Finished): Promise<Outcome> => {
    await job.progress;
    const pkg = world.packages.get(key);
    if (!pkg || own.isStale(key, pkg)) return done;
    if (outcome.outcome === "failed" && outcome.fault === "platform")
      return retryLater(key, pkg, job, outcome.message);
    if (outcome.outcome === "failed") {
      await report(pkg, buildFailed(job, outcome.message));
      events.record(pkg, "Warning", "BuildFailed", outcome.message);
    } else {
      const { named, content } = await publish(context, options.archives, pkg, outcome);
      await report(named, buildSucceeded(job, content, outcome.sourceDigest));
      events.record(pkg, "Normal", "BuildSucceeded", `Built sha256:${outcome.sha256}`);
    }
    forget(key);
    return done;
  };

  return {
    step: async (key, pkg, environment, source) => {
      const inputs = buildInputsOf(pkg, environment, identityOf(source));
      const job = jobs.get(key);
      if (job?.inputs === inputs) return job.outcome ? finish(key, job, job.outcome) : done;
      const settled = settledAs(pkg, inputs);
      if (!settled) return start(key, pkg, inputs, buildOf(pkg, environment, source, options));
      forget(key);
      return settled === "succeeded" ? "settled" : done;
    },
    forget,
    stop: () => jobs.stop(),
    get running() {
      return jobs.running;
    },
  };
}

/** How the build of these inputs ended, if it did and its result still stands. */
function settledAs(pkg: Package, inputs: string): "succeeded" | "failed" | undefined {
  const state = pkg.status?.buildstatus;
  if (pkg.status?.buildInputs !== inputs) return undefined;
  if (state === "failed") return "failed";
  const deployment = locateArchive(pkg.spec.deployment);
  const stands = deployment.kind === "stored" && deployment.digest === pkg.status.contentHash;
  return state === "succeeded" && stands ? "succeeded" : undefined;
}

/** The build itself: fetch the source, hand it to the builder. An unusable source is the user's fault. */
function buildOf(
  pkg: Package,
  environment: Environment,
  location: ArchiveLocation,
  { access, builder }: Pick<ConductorOptions, "access" | "builder">,
): Build {
  return async (hooks) => {
    let source: { digest: string; bytes: Buffer };
    try {
      source = await access.read(pkg, "source", location);
    } catch (error) {
      if (!(error instanceof ArchiveProblem)) throw error;
      const message = `The source archive cannot be used: ${error.message}`;
      hooks.onLog(message);
      return { outcome: "failed", fault: error.retry ? "platform" : "user", message, sourceDigest: "" };
    }
    const filename = sourceFilename(source.bytes, location.kind === "remote" ? location.url : undefined);
    const outcome = await builder.build(
      {
        namespace: pkg.metadata.namespace ?? "default",
        package: pkg.metadata.name,
        environment,
        source: { sha256: source.digest, filename, bytes: source.bytes },
        ...buildSettings(pkg, environment),
      },
      hooks,
    );
    return { ...outcome, sourceDigest: source.digest };
  };
}

/** Stores the artifact, then names it in the spec; the status follows. Each step may be the last before a crash. */
async function publish(
  { client }: ControllerContext,
  archives: Archives,
  pkg: Package,
  built: { artifact: Uint8Array; sha256: string },
): Promise<{ named: Package; content: { digest: string; sizeBytes: number } }> {
  const { archive } = await archives.put(once(built.artifact), {
    sha256: built.sha256,
    sizeBytes: built.artifact.length,
  });
  const content = { digest: archive.digest, sizeBytes: archive.sizeBytes };
  const present = locateArchive(pkg.spec.deployment);
  if (present.kind === "stored" && present.digest === content.digest) return { named: pkg, content };
  const named = await client.patch(PACKAGES, pkg.metadata, {
    metadata: { resourceVersion: pkg.metadata.resourceVersion },
    spec: {
      deployment: {
        type: "url",
        url: archiveUrl(content.digest),
        checksum: { type: "sha256", sum: content.digest },
        literal: null,
        oci: null,
      },
    },
  });
  return { named, content };
}

// oxlint-disable-next-line typescript/require-await -- the store takes streams
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
