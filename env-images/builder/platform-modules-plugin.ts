import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { build as esbuild, type OnResolveResult, type Plugin } from "esbuild";

const NAMESPACE = "isotope";
const WORKFLOWS = "@isotope/platform/workflows";
/** Package that a workflow's module imports; the source's own is taken where it has one. */
const XSTATE = /^xstate(?:\/|$)/;
const OWN = /^@isotope\/platform(?:\/|$)/;

/**
 * Gives sources what the platform brings: `@isotope/platform/workflows`, and XState for sources that install none. So a workflow needs no package.json, and the
 * API that it is bundled with is the one of the platform that runs it.
 */
export function platformModulesPlugin(root: string): Plugin {
  return {
    name: "platform-modules",
    setup(build) {
      const foundInSource = new Map<string, Promise<OnResolveResult>>();
      const inSource = (path: string): Promise<OnResolveResult> => {
        const found =
          foundInSource.get(path) ??
          build.resolve(path, { kind: "import-statement", resolveDir: root, pluginData: LOOKING });
        foundInSource.set(path, found);
        return found;
      };
      build.onResolve({ filter: OWN }, ({ path }) => resolveOwn(path));
      build.onResolve({ filter: XSTATE }, async (args) => {
        if (args.pluginData === LOOKING) return undefined;
        const found = await inSource(args.path);
        return found.errors?.length || found.external ? { path: args.path, namespace: NAMESPACE } : found;
      });
      build.onLoad({ filter: /.*/, namespace: NAMESPACE }, async ({ path }) => ({
        contents: await moduleText(path),
        loader: "js",
      }));
    },
  };
}

const LOOKING = Symbol("looking in the source");

function resolveOwn(path: string): OnResolveResult {
  if (path === WORKFLOWS) return { path, namespace: NAMESPACE };
  return {
    errors: [
      {
        text: `Cannot import "${path}": it holds types only, use \`import type\`; what workflows are made with is in "${WORKFLOWS}"`,
      },
    ],
  };
}

const texts = new Map<string, Promise<string>>();

/** A module of the platform, or XState's, in one file; what workflows import of XState stays an import. */
function moduleText(path: string): Promise<string> {
  const text = texts.get(path) ?? bundled(path);
  texts.set(path, text);
  return text;
}

async function bundled(path: string): Promise<string> {
  const { outputFiles } = await esbuild({
    ...(path === WORKFLOWS
      ? { entryPoints: [workflowsModule()], external: ["xstate"] }
      : { stdin: { contents: `export * from ${JSON.stringify(path)};`, resolveDir: import.meta.dirname } }),
    bundle: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["module", "import"],
    target: "esnext",
    legalComments: "none",
    logLevel: "silent",
    write: false,
    tsconfigRaw: {},
  });
  return outputFiles[0]?.text ?? "";
}

function workflowsModule(): string {
  const folder = sdkFolder();
  const path = ["ts", "js"].map((extension) => join(folder ?? "", `workflows.${extension}`)).find(existsSync);
  if (folder === undefined || path === undefined)
    throw new Error(`Cannot find the platform's module "${WORKFLOWS}"`);
  return path;
}

/** The platform's `sdk` folder: it lies at the same place below the platform's root in a checkout, in the npm package and in the image. */
export function sdkFolder(): string | undefined {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const sdk = join(folder, "sdk");
    if (["ts", "js"].some((extension) => existsSync(join(sdk, `workflows.${extension}`)))) return sdk;
    if (folder === dirname(folder)) return undefined;
  }
}
