import type { Json } from "../core/json.ts";
import { getPath, setPath } from "./json-path.ts";
import { type JsonPath, parseJsonPath } from "./parse-json-path.ts";
import type { State } from "./spec.ts";

/** The paths of a state, read once. */
export interface Shape {
  readonly input?: JsonPath;
  readonly result?: JsonPath;
  readonly output?: JsonPath;
}

export const shapeOf = ({ inputPath, resultPath, outputPath }: State): Shape => ({
  ...(inputPath ? { input: parseJsonPath(inputPath) } : {}),
  ...(resultPath ? { result: parseJsonPath(resultPath) } : {}),
  ...(outputPath ? { output: parseJsonPath(outputPath) } : {}),
});

/** What a state is given: its inputPath of the document, null where that selects nothing. */
export const shapeInput = ({ input }: Shape, document: Json): Json =>
  input ? (getPath(input, document) ?? null) : document;

/**
 * The next document: the result at resultPath of the state's own document (without one: instead of it), then outputPath of that.
 * @throws {InvalidPathError} when the result cannot be written there.
 */
export function shapeOutput({ result: at, output }: Shape, document: Json, result: Json): Json {
  const merged = at ? setPath(at, document, result) : result;
  return output ? (getPath(output, merged) ?? null) : merged;
}
