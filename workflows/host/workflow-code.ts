import { createHash } from "node:crypto";
import { type BuildFailure, build, type Plugin } from "esbuild";
import { DefinitionError } from "../definition/definition.ts";
import type { CodeSource } from "./definition-host.ts";

/**
 * A workflow's bundle (one ES module) as a script for the definition host. Rejects with `DefinitionError` (`definition_invalid`) when the module imports anything, or
 * waits at its top: a host has nothing to give it.
 * @param exported name of the export that is the workflow
 */
export async function workflowCode(bundle: string, exported: string): Promise<CodeSource> {
  const text = await script(bundle);
  const code = `${text};\nvar __isotopeWorkflow = __isotopeModule[${JSON.stringify(exported)}];\n`;
  return { code, digest: createHash("sha256").update(code).digest("hex") };
}

async function script(bundle: string): Promise<string> {
  try {
    const { outputFiles } = await build({
      stdin: { contents: bundle, loader: "js", sourcefile: "workflow.js" },
      bundle: true,
      format: "iife",
      globalName: "__isotopeModule",
      platform: "neutral",
      target: "esnext",
      treeShaking: true,
      keepNames: false,
      minify: false,
      charset: "utf8",
      legalComments: "none",
      write: false,
      logLevel: "silent",
      tsconfigRaw: {},
      plugins: [REFUSE_IMPORTS],
    });
    const [file] = outputFiles;
    return file?.text ?? "";
  } catch (error) {
    throw new DefinitionError("definition_invalid", `Cannot use the workflow's code: ${sentenceOf(error)}`, {
      cause: error,
    });
  }
}

const REFUSE_IMPORTS: Plugin = {
  name: "refuse-imports",
  setup(builder) {
    builder.onResolve({ filter: /.*/ }, ({ path, kind }) =>
      kind === "entry-point"
        ? undefined
        : {
            errors: [
              {
                text: `it imports "${path}", which there is not where definitions run: only XState, the workflow API and pure packages can be used; what reads, writes or calls belongs into a function`,
              },
            ],
          },
    );
  },
};

function sentenceOf(error: unknown): string {
  const first = isBuildFailure(error) ? error.errors[0]?.text : undefined;
  if (first !== undefined)
    return first.includes("Top-level await")
      ? "it waits (`await`) at the top of its module, outside of any function"
      : first;
  return error instanceof Error ? error.message : String(error);
}

const isBuildFailure = (error: unknown): error is BuildFailure =>
  error instanceof Error && "errors" in error && Array.isArray(error.errors);
