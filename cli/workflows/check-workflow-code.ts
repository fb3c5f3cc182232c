import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { type BuildFailure, build } from "esbuild";
import { platformModulesPlugin } from "../../env-images/builder/platform-modules-plugin.ts";
import { type ActorFacts, DefinitionError } from "../../workflows/definition/definition.ts";
import { childHosts } from "../../workflows/host/child-host.ts";
import { definitionHost } from "../../workflows/host/definition-host.ts";
import { denoBinary } from "../../workflows/host/deno-binary.ts";
import { hostedDefinition } from "../../workflows/host/hosted-definition.ts";
import { workflowCode } from "../../workflows/host/workflow-code.ts";

export interface CodeProblem {
  readonly place: string;
  readonly message: string;
}
export interface CheckedCode {
  readonly problems: CodeProblem[];
  /** Functions that it calls, with the steps that do. */
  readonly functions: readonly { readonly place: string; readonly name: string }[];
}

/** Code is given more time than a run would: this machine may be busy, and nobody else waits for it. */
const DEADLINE_MS = 5_000;

/**
 * What is wrong with a workflow in a TypeScript or JavaScript file: bundled with the project's own packages and asked in a process without permissions,
 * as the platform does it.
 * @param file absolute
 * @param exported name of the export that is the workflow
 */
export async function checkWorkflowCode(file: string, exported: string): Promise<CheckedCode> {
  const denoDir = mkdtempSync(join(tmpdir(), "isotope-validate-"));
  const host = definitionHost({
    start: childHosts({ deno: denoBinary(), denoDir }),
    deadlineMs: DEADLINE_MS,
  });
  try {
    const source = await workflowCode(await bundled(file), exported);
    const { definition, problems } = await hostedDefinition(host, source);
    return { problems: [...problems], functions: functionsOf(definition.facts.actors) };
  } catch (error) {
    const found = problemsOf(error, dirname(file));
    if (!found) throw error;
    return { problems: found, functions: [] };
  } finally {
    host.close();
    rmSync(denoDir, { recursive: true, force: true });
  }
}

async function bundled(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [file],
    absWorkingDir: dirname(file),
    bundle: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    conditions: ["deno", "node", "module"],
    plugins: [platformModulesPlugin(dirname(file))],
    logLevel: "silent",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}

function problemsOf(error: unknown, folder: string): CodeProblem[] | undefined {
  if (error instanceof DefinitionError)
    return [{ place: "", message: error.message.replace(/^(?:Type)?Error: /, "").replaceAll(/\n\s*/g, " ") }];
  if (!isBuildFailure(error)) return undefined;
  return error.errors.map(({ text, location }) => ({
    place: location
      ? `${relative(folder, join(folder, location.file))}:${location.line}:${location.column + 1}`
      : "",
    message: text.replace(NOT_FOUND, (_all, name: string) =>
      /^[./]/.test(name)
        ? `there is no file "${name}"`
        : `there is no package "${name}" here: install it with \`npm install ${name}\``,
    ),
  }));
}

const NOT_FOUND = /^Could not resolve "([^"]+)"$/;

const isBuildFailure = (error: unknown): error is BuildFailure =>
  error instanceof Error && "errors" in error && Array.isArray(error.errors);

const functionsOf = (actors: Readonly<Record<string, ActorFacts>>): CheckedCode["functions"] =>
  Object.entries(actors).flatMap(([actor, facts]) => {
    const called = facts.kind === "map" ? facts.each : facts;
    return called.kind === "function" ? [{ place: `actors.${actor}`, name: called.name }] : [];
  });
