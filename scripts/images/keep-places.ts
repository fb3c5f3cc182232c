import { readFile } from "node:fs/promises";
import { dirname, relative } from "node:path";
import type { Plugin } from "esbuild";
import { ROOT } from "./image-table.ts";

/** How modules name the folder of their scripts. */
const READS_SCRIPTS = "redisScripts(join(import.meta.dirname";

/**
 * Modules that read scripts of the store from beside themselves find them at the same place below the program's root: in a bundle
 * `import.meta.dirname` is the folder of the file that they became a part of.
 */
export const keepPlaces = (): Plugin => ({
  name: "keep-places",
  setup: (build) => {
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      if (path.includes("/node_modules/")) return undefined;
      const text = await readFile(path, "utf8");
      if (!text.includes(READS_SCRIPTS)) return undefined;
      const place = JSON.stringify(relative(ROOT, dirname(path)));
      return { contents: text.replaceAll("import.meta.dirname", `isotopePlace(${place})`), loader: "ts" };
    });
  },
});

/** Line in front of each file of a bundle: what `isotopePlace` is. The program's root is where its package.json lies. */
export const PLACES =
  'import { findPackageJSON as isotopeManifest } from "node:module"; import { join as isotopeJoin } from "node:path"; ' +
  'const isotopePlace = (place) => isotopeJoin(isotopeManifest(import.meta.url), "..", place);';
