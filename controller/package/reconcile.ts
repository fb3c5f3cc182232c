/**
 * Makes a Package's deployment archive available: as given, or built from its source.
 *
 * Invariant P1: `status.contentHash` names an archive that is in storage, and `Ready=True` with the current generation says that it
 * is what the Package asks for now. Functions rely on both.
 */
import type { Package } from "../../api/kinds/index.ts";
import { findCondition } from "../../kube/conditions.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { PACKAGES } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { BY_ENVIRONMENT, type World } from "../world.ts";
import { ArchiveProblem, createArchiveAccess } from "./archive-access.ts";
import { createBuildConductor } from "./build.ts";
import type { DownloadOptions } from "./download.ts";
import { type ArchiveLocation, locateArchive } from "./locate.ts";
import { planPackage } from "./plan.ts";
import type { Archives, PackageBuilder } from "./ports.ts";
import { nextPackageStatus, type PackageReport, READY } from "./reports.ts";

export interface PackageOptions {
  archives: Archives;
  builder: PackageBuilder;
  download: DownloadOptions;
  maxConcurrentBuilds: number;
  /** How often a running build's log is written at most. */
  logIntervalMs: number;
  enqueue: (key: string) => void;
}

export interface PackageReconciler {
  reconcile: Reconcile;
  /** Aborts running builds; the next process resumes them. */
  stop(): Promise<void>;
  buildsRunning(): number;
}

const RECHECK_MS = 30_000;

export function packageReconciler(context: ControllerContext, options: PackageOptions): PackageReconciler {
  const { client, world, now } = context;
  const { archives } = options;
  const own = createOwnWrites();
  const access = createArchiveAccess({ client, archives, download: options.download });
  const report = (pkg: Package, content: PackageReport): Promise<Package> =>
    writeStatus(client, PACKAGES, pkg, nextPackageStatus(pkg, content, now()), own);
  const builds = createBuildConductor(context, { ...options, access, own, report });

  const deploy = async (pkg: Package, location: ArchiveLocation): Promise<Outcome> => {
    try {
      const settled = await settledContent(pkg, location, archives);
      const content = settled ?? (await access.store(pkg, "deployment", location));
      const buildstatus = pkg.status?.buildstatus === "succeeded" ? "succeeded" : "none";
      await report(pkg, { buildstatus, content, ready: READY });
      return done;
    } catch (error) {
      if (!(error instanceof ArchiveProblem)) throw error;
      const message = `The deployment archive cannot be used: ${error.message}`;
      await report(pkg, { ready: { status: "False", reason: error.reason, message } });
      return error.retry ? after(RECHECK_MS) : done;
    }
  };

  const reconcile = async (key: string, pkg: Package): Promise<Outcome> => {
    const plan = planPackage(pkg, world);
    if (plan.kind === "build") {
      const outcome = await builds.step(key, pkg, plan.environment, plan.source);
      return outcome === "settled" ? deploy(pkg, locateArchive(pkg.spec.deployment)) : outcome;
    }
    builds.forget(key);
    if (plan.kind === "deploy") return deploy(pkg, plan.deployment);
    await report(pkg, plan.report);
    return done;
  };

  return {
    reconcile: async (key) => {
      const pkg = world.packages.get(key);
      if (!pkg || pkg.metadata.deletionTimestamp) {
        builds.forget(key);
        own.forget(key);
        return done;
      }
      if (own.isStale(key, pkg)) return done;
      try {
        return await reconcile(key, pkg);
      } catch (error) {
        if (isNotFound(error)) return done;
        throw error;
      }
    },
    stop: () => builds.stop(),
    buildsRunning: () => builds.running,
  };
}

/** A remote archive without checksum is fetched once per generation, not at every look. */
async function settledContent(
  pkg: Package,
  location: ArchiveLocation,
  archives: Archives,
): Promise<{ digest: string; sizeBytes: number } | undefined> {
  if (location.kind !== "remote" || location.digest !== undefined) return undefined;
  const ready = findCondition(pkg.status?.conditions, "Ready");
  const digest = pkg.status?.contentHash;
  if (ready?.status !== "True" || ready.observedGeneration !== pkg.metadata.generation || !digest)
    return undefined;
  const found = await archives.find(digest);
  return found ? { digest, sizeBytes: found.sizeBytes } : undefined;
}

/** Brings a package to the queue when it or its environment changes. */
export function watchPackages(world: World, enqueue: (key: string) => void): void {
  world.packages.subscribe({ onChange: ({ key }) => enqueue(key) });
  world.environments.subscribe({
    onChange: ({ key }) => {
      for (const pkg of world.packages.byIndex(BY_ENVIRONMENT, key)) {
        enqueue(`${pkg.metadata.namespace ?? "default"}/${pkg.metadata.name}`);
      }
    },
  });
}
