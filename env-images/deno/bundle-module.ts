import type { Module, SourceTextModule, SyntheticModule } from "node:vm";
import { mapPositionsOf } from "./source-positions.ts";

/**
 * Loading of a module that stands alone, such as a bundle: it goes straight to V8. The usual import first parses every module a second
 * time to find what it imports, and that takes most of the time of a large bundle's load.
 *
 * What such a module sees is the same: `import.meta`, dynamic imports, top-level await, `file:` addresses in stacks.
 */

/** Loaded modules: their dynamic imports need them for as long as the process lives. */
const loaded = new Set<Module>();

async function nodeModule(specifier: string): Promise<Module> {
  const vm = await import("node:vm");
  const exports: Record<string, unknown> = await import(specifier);
  const names = Object.keys(exports);
  return new vm.SyntheticModule(
    names,
    function (this: SyntheticModule) {
      for (const name of names) this.setExport(name, exports[name]);
    },
    { identifier: specifier },
  );
}

/**
 * Evaluates the module `source`, whose address is `url`, and returns its exports. Undefined, with nothing evaluated, when it does not
 * compile or imports more than Node's built-ins: the usual import then loads it, or says best what is wrong. `textOf` reads its map.
 */
export async function loadBundle(
  source: string,
  file: string,
  url: string,
  textOf: (path: string) => string,
): Promise<object | undefined> {
  const resolve = (specifier: string): string => new URL(specifier, url).href;
  // Pods whose function is small never load it.
  const vm = await import("node:vm");
  let module: SourceTextModule;
  try {
    module = new vm.SourceTextModule(source, {
      identifier: url,
      initializeImportMeta: (meta) => {
        Object.assign(meta, {
          url,
          filename: file,
          dirname: file.slice(0, file.lastIndexOf("/")),
          main: false,
          resolve: (specifier: string) => (/^\.{0,2}\//.test(specifier) ? resolve(specifier) : specifier),
        });
      },
      importModuleDynamically: (specifier, _module, { type }) =>
        import(
          /^\.{0,2}\//.test(specifier) ? resolve(specifier) : specifier,
          type === undefined ? undefined : { with: { type } }
        ),
    });
    if (!module.dependencySpecifiers.every((specifier) => specifier.startsWith("node:"))) return undefined;
    await module.link(nodeModule);
  } catch {
    return undefined;
  }
  loaded.add(module);
  mapPositionsOf(file, url, source, textOf);
  await module.evaluate();
  return module.namespace;
}
