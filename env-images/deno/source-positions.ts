import { builtIn, type PositionMap } from "./built-in.ts";
import { stringIndexOf } from "./primordials.ts";

/**
 * Positions in a bundle that Deno did not load itself, told in terms of its sources. Deno maps the stacks of what it loads; this does the
 * same for the log lines and stacks of a bundle that went to V8 directly. The map is read when the first position is met.
 */
interface Bundle {
  readonly url: string;
  /** Reads the map's text. Throws when that cannot be done. */
  readonly mapText: () => string;
  /** Null when there is none that can be read. */
  map: PositionMap | null | undefined;
}

let bundle: Bundle | undefined;
const LINK = /\n\/\/# sourceMappingURL=([\w.-]+)\s*$/;
const MOST_TAIL_CHARACTERS = 1_024;

/**
 * From now on positions in the bundle `file`, which has not run yet, are mapped. One bundle per process.
 * `textOf` reads a file, once a position is met.
 */
export function mapPositionsOf(
  file: string,
  url: string,
  source: string,
  textOf: (path: string) => string,
): void {
  const link = LINK.exec(source.slice(-MOST_TAIL_CHARACTERS))?.[1];
  if (link === undefined) return;
  const path = `${file.slice(0, file.lastIndexOf("/"))}/${link}`;
  bundle = { url, mapText: () => textOf(path), map: undefined };
}

function readMap({ mapText }: Bundle): PositionMap | null {
  try {
    const { SourceMap } = builtIn("node:module");
    return new SourceMap(JSON.parse(mapText()));
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
