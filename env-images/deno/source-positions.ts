import { stringIndexOf } from "./primordials.ts";

/**
 * Positions in a bundle that Deno did not load itself, told in terms of its sources. Deno maps the stacks of what it loads; this does the
 * same for the log lines and stacks of a bundle that went to V8 directly. The map is read when the first position is met.
 */
interface PositionMap {
  /** Both counted from 0; the entry is empty where the map knows nothing. */
  findEntry(
    line: number,
    column: number,
  ): {
    readonly originalSource?: string;
    readonly originalLine?: number;
    readonly originalColumn?: number;
  };
}

interface Bundle {
  readonly file: string;
  readonly url: string;
  /** Loads on demand: only a pod that logs a stack needs the map's reader, which is large. */
  readonly builtIn: BuiltInModule;
  /** Null when there is none that can be read. */
  map: PositionMap | null | undefined;
}

let bundle: Bundle | undefined;
const LINK = /\n\/\/# sourceMappingURL=([\w.-]+)\s*$/;
const MOST_TAIL_CHARACTERS = 1_024;

/** From now on positions in the bundle, which has not run yet, are mapped. One bundle per process. */
export function mapPositionsOf(file: string, url: string, source: string): void {
  const link = LINK.exec(source.slice(-MOST_TAIL_CHARACTERS))?.[1];
  if (link === undefined) return;
  const builtIn: BuiltInModule = Reflect.get(Reflect.get(globalThis, "process"), "getBuiltinModule");
  bundle = { file: `${file.slice(0, file.lastIndexOf("/"))}/${link}`, url, builtIn, map: undefined };
}

type BuiltInModule = (name: "node:module") => { SourceMap: new (map: object) => PositionMap };

function readMap({ file, builtIn }: Bundle): PositionMap | null {
  try {
    const { SourceMap } = builtIn("node:module");
    return new SourceMap(JSON.parse(Deno.readTextFileSync(file)));
  } catch {
    return null;
  }
}

/** The text with every position in the bundle replaced by that in its source, where the map knows it. */
export function withSourcePositions(text: string): string {
  if (bundle === undefined || stringIndexOf(text, bundle.url) === -1) return text;
  const { url } = bundle;
  if (bundle.map === undefined) bundle.map = readMap(bundle);
  const { map } = bundle;
  if (map === null) return text;
  let result = "";
  let from = 0;
  for (let at = stringIndexOf(text, url); at !== -1; at = stringIndexOf(text, url, at + 1)) {
    const [whole, line = "", column = ""] = /^:(\d+):(\d+)/.exec(text.slice(at + url.length)) ?? [];
    if (whole === undefined) continue;
    const {
      originalSource,
      originalLine = 0,
      originalColumn = 0,
    } = map.findEntry(Number(line) - 1, Number(column) - 1);
    if (originalSource === undefined) continue;
    const source = new URL(originalSource, url).href;
    result += `${text.slice(from, at)}${source}:${originalLine + 1}:${originalColumn + 1}`;
    from = at + url.length + whole.length;
  }
  return result + text.slice(from);
}
