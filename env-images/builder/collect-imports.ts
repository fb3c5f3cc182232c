import { bundle } from "./bundle.ts";
import type { NpmSpecifier } from "./npm-specifier.ts";
import type { PreparePackagesOptions } from "./packages.ts";
import { specifiersPlugin } from "./specifiers-plugin.ts";

/** All `npm:` imports that the entries reach, found by a pass of the bundler over the project's own modules. */
export async function collectImports(options: PreparePackagesOptions): Promise<NpmSpecifier[]> {
  const found: NpmSpecifier[] = [];
  await bundle({
    project: options.project,
    entries: options.entries,
    plugins: [
      specifiersPlugin({
        root: options.project.root,
        importMap: options.importMap,
        packageFor: undefined,
        onNpm: (specifier) => found.push(specifier),
      }),
      ...options.plugins,
    ],
    ownModulesOnly: true,
    log: () => {},
    missingPackageAdvice: () => "",
  });
  return found;
}
