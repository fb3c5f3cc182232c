import type { BuildContext } from "./build.ts";
import type { Entry } from "./find-entries.ts";
import type { ImportMap } from "./import-map.ts";
import type { NpmSpecifier } from "./npm-specifier.ts";
import type { Project } from "./project.ts";

export interface Packages {
  /** The bare specifier under which an `npm:` import's package is installed. */
  readonly packageFor: (specifier: NpmSpecifier) => string;
  readonly missingPackageAdvice: (name: string) => string;
}

export interface PreparePackagesOptions {
  readonly project: Project;
  readonly entries: readonly Entry[];
  readonly importMap: ImportMap;
  readonly typeCheck: boolean;
  readonly context: BuildContext;
}

export async function preparePackages(options: PreparePackagesOptions): Promise<Packages> {
  const { packageJson } = options.project;
  return {
    packageFor: (specifier) => specifier.name,
    missingPackageAdvice: (name) =>
      packageJson
        ? `add it to the dependencies of package.json (npm install ${name})`
        : `import it as "npm:${name}", or add a package.json that names it`,
  };
}
