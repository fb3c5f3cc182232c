import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseAllDocuments } from "yaml";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { CliError } from "../command.ts";
import type { CliContext } from "../context.ts";

/** A workflow as a file holds it. */
export interface WorkflowFile {
  /** As given by the user. */
  readonly path: string;
  /** The object's name, if the file holds an object. */
  readonly name: string | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Not checked. */
  readonly spec: Readonly<Record<string, unknown>>;
}

/**
 * Reads a Workflow from YAML or JSON: the object, or its spec alone. `-` is stdin.
 * @throws {CliError} when the file cannot be read or holds something else
 */
export async function readWorkflowFile(context: CliContext, path: string): Promise<WorkflowFile> {
  const content = await contentOf(context, path);
  const documents = parseAllDocuments(content);
  const fault = documents.flatMap((document) => document.errors)[0];
  if (fault) throw new CliError(`Cannot read "${path}": ${fault.message.split("\n")[0]}`);
  const values = documents.map((document): unknown => document.toJS()).filter((value) => value !== null);
  const [value] = values;
  if (values.length !== 1 || !isRecord(value))
    throw new CliError(
      `Cannot read "${path}": it must hold one Workflow, got ${values.length === 1 ? "something else" : `${values.length} documents`}`,
    );
  if (!("kind" in value) && "startAt" in value) return { path, name: undefined, metadata: {}, spec: value };
  const { apiVersion, kind, metadata, spec } = value;
  if (kind !== "Workflow" || (apiVersion !== undefined && apiVersion !== API_GROUP_VERSION))
    throw new CliError(
      `Cannot read "${path}": it must hold a Workflow of ${API_GROUP_VERSION}, got ${String(kind)} of ${String(apiVersion)}`,
    );
  if (!isRecord(spec)) throw new CliError(`Cannot read "${path}": the Workflow has no spec`);
  const meta = isRecord(metadata) ? metadata : {};
  const name = typeof meta["name"] === "string" ? meta["name"] : undefined;
  return { path, name, metadata: meta, spec };
}

async function contentOf(context: CliContext, path: string): Promise<string> {
  if (path === "-") {
    let text = "";
    for await (const chunk of context.stdin) text += String(chunk);
    return text;
  }
  try {
    return await readFile(resolve(context.cwd, path), "utf8");
  } catch (error) {
    throw new CliError(`Cannot read "${path}": ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A function is meant by its name unless the file says otherwise, as the reference system's own client has it. */
export function withFunctionTypes(spec: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const states = spec["states"];
  if (!isRecord(states)) return { ...spec };
  const complete = (state: unknown): unknown => {
    if (!isRecord(state)) return state;
    const { function: called, branches, iterator } = state;
    return {
      ...state,
      ...(isRecord(called) && called["type"] === undefined ? { function: { type: "name", ...called } } : {}),
      ...(Array.isArray(branches)
        ? { branches: branches.map((branch) => (isRecord(branch) ? withFunctionTypes(branch) : branch)) }
        : {}),
      ...(isRecord(iterator) ? { iterator: withFunctionTypes(iterator) } : {}),
    };
  };
  return {
    ...spec,
    states: Object.fromEntries(Object.entries(states).map(([name, state]) => [name, complete(state)])),
  };
}
