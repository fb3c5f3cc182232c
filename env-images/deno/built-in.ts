interface BuiltIns {
  "node:module": { SourceMap: new (map: object) => PositionMap };
  "node:zlib": {
    inflateRawSync(packed: Uint8Array, options: { maxOutputLength: number }): Uint8Array<ArrayBuffer>;
  };
}

/** What is known of the positions in a file; all counted from 0. The entry is empty where the map knows nothing. */
export interface PositionMap {
  findEntry(
    line: number,
    column: number,
  ): {
    readonly originalSource?: string;
    readonly originalLine?: number;
    readonly originalColumn?: number;
  };
}

/** One of Node's modules, loaded when it is asked for: `import` would load it with the pod, where few pods need it. */
export function builtIn<Name extends keyof BuiltIns>(name: Name): BuiltIns[Name] {
  const load: (name: Name) => BuiltIns[Name] = Reflect.get(
    Reflect.get(globalThis, "process"),
    "getBuiltinModule",
  );
  return load(name);
}
