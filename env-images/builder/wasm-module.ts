interface Described {
  readonly name: string;
}
/** The part of the global that is used; the compiler's own declarations come with a browser's. */
declare const WebAssembly: {
  readonly Module: {
    new (bytes: Uint8Array<ArrayBuffer>): object;
    imports(module: object): Described[];
    exports(module: object): Described[];
  };
};

const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/**
 * The module for an imported `.wasm` file at `path` (relative to the artifact). Default export: the compiled WebAssembly.Module, as
 * bundlers of edge platforms give it. A module that imports nothing is also instantiated, and its exports are exported by name,
 * as Deno and the WebAssembly ESM integration do.
 */
export function wasmModule(path: string, bytes: Uint8Array<ArrayBuffer>): string {
  const lines = [
    `import { readFileSync } from "node:fs";`,
    `const module = new WebAssembly.Module(readFileSync(new URL(${JSON.stringify(path)}, import.meta.url)));`,
    "export default module;",
  ];
  const exported = standaloneExports(bytes);
  if (exported.length > 0) {
    lines.push("const { exports: instance } = new WebAssembly.Instance(module, {});");
    for (const name of exported) lines.push(`export const ${name} = instance[${JSON.stringify(name)}];`);
  }
  return lines.join("\n");
}

function standaloneExports(bytes: Uint8Array<ArrayBuffer>): string[] {
  try {
    const module = new WebAssembly.Module(bytes);
    if (WebAssembly.Module.imports(module).length > 0) return [];
    return WebAssembly.Module.exports(module)
      .map(({ name }) => name)
      .filter((name) => IDENTIFIER.test(name) && !RESERVED.has(name));
  } catch {
    // Not a valid module: loading it says so.
    return [];
  }
}

const RESERVED = new Set(
  "module instance default readFileSync await break case catch class const continue debugger delete do else enum export extends false finally for function if import in instanceof let new null return static super switch this throw true try typeof var void while with yield".split(
    " ",
  ),
);
