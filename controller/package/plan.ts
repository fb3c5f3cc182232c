import type { Environment, Package } from "../../api/kinds/index.ts";
import type { World } from "../world.ts";
import { type ArchiveLocation, locateArchive } from "./locate.ts";
import type { PackageReport } from "./reports.ts";

export type Plan =
  | { kind: "problem"; report: PackageReport }
  | { kind: "deploy"; deployment: ArchiveLocation }
  | { kind: "build"; environment: Environment; source: ArchiveLocation };

/** What a package needs now. Pure but for the look into the caches. */
export function planPackage(pkg: Package, world: Pick<World, "environments">): Plan {
  const namespace = pkg.metadata.namespace ?? "default";
  const reference = pkg.spec.environment;
  const name = reference.name ?? "";
  if (reference.namespace !== "" && reference.namespace !== namespace) {
    return problem(
      "CrossNamespaceReference",
      `Environment "${name}" is in namespace "${reference.namespace}": a package may refer to its own namespace "${namespace}" only`,
    );
  }
  const source = locateArchive(pkg.spec.source);
  const deployment = locateArchive(pkg.spec.deployment);
  if (source.kind === "none" && deployment.kind === "none") {
    return problem(
      "EmptyPackage",
      "The package holds neither source nor deployment: give it one with isotope pkg update --source or --deploy",
      "failed",
    );
  }
  if (source.kind === "none") return { kind: "deploy", deployment };
  if (source.kind === "invalid" || source.kind === "oci") {
    const why = source.kind === "oci" ? "type oci is for deployment archives only" : source.message;
    return problem("InvalidArchive", `The source archive cannot be used: ${why}`, "failed");
  }
  const environment = world.environments.get(`${namespace}/${name}`);
  if (!environment) {
    return problem(
      "EnvironmentNotFound",
      `Environment "${name}" not found in namespace "${namespace}": create it with isotope env create --name ${name} --image isotope/deno-env --builder isotope/deno-builder`,
      "pending",
    );
  }
  if (environment.spec.builder?.image) return { kind: "build", environment, source };
  if (deployment.kind !== "none") return { kind: "deploy", deployment };
  return problem(
    "NoBuilder",
    `Environment "${name}" has no builder: set its spec.builder.image, or give the package a built archive with --deploy`,
    "pending",
  );
}

function problem(
  reason: string,
  message: string,
  buildstatus?: NonNullable<PackageReport["buildstatus"]>,
): Plan {
  return {
    kind: "problem",
    report: { ...(buildstatus ? { buildstatus } : {}), ready: { status: "False", reason, message } },
  };
}
