// Import directions (docs/architecture.md): a folder may import only what is listed for it, and itself.
const ALLOWED = {
  api: [],
  // What a workflow is bundled with is what the engine speaks to.
  sdk: ["api", "workflows"],
  kube: ["api", "net"],
  net: ["api"],
  localkube: [],
  controller: ["api", "kube", "net"],
  workflows: ["api", "kube", "net"],
  // Checks and draws workflows on the user's machine, as the platform does.
  cli: [
    "api",
    "kube",
    "net",
    "workflows/format",
    "workflows/graph",
    // To check a workflow in TypeScript offline, it is bundled and asked as the platform does it.
    "workflows/definition",
    "workflows/host",
    "env-images/builder",
  ],
  "env-images/deno": ["api"],
  // Runs on Node: reads archives and settings with the platform's own modules.
  "env-images/builder": ["api", "net"],
  // Takes a foreign image's requests in its place, with the HTTP core of the router and the message reader of our own runtime.
  "env-images/fetcher": ["api", "net", "engine/router/http", "env-images/deno"],
};
const ENGINE_PARTS = ["router", "executor", "builder", "storage", "logs", "triggers"];
/** Processes are put together here, from whatever they need. */
const ROOTS = "(^|/)main\\.ts$";
const TESTS = "(\\.test\\.ts$|^test/)";

const foldersRule = ([folder, allowed]) => ({
  name: `${folder} imports only ${[folder, ...allowed].join(", ")}`,
  severity: "error",
  from: { path: `^${folder}/`, pathNot: [TESTS, ROOTS] },
  to: { path: "^[^/]+/", pathNot: `^(${[folder, ...allowed, "node_modules"].join("|")})/` },
});

const engineRule = (part) => ({
  name: `engine/${part} does not import other parts of the engine`,
  severity: "error",
  from: { path: `^engine/${part}/`, pathNot: TESTS },
  to: { path: "^[^/]+/", pathNot: `^(engine/${part}|api|kube|net|node_modules)/` },
});

export default {
  forbidden: [
    ...Object.entries(ALLOWED).map(foldersRule),
    ...ENGINE_PARTS.map(engineRule),
    {
      name: "workflows/core imports itself and the definition's types",
      severity: "error",
      from: { path: "^workflows/core/", pathNot: TESTS },
      to: { pathNot: "^workflows/(core|definition)/" },
    },
    { name: "nothing imports tests", severity: "error", from: { pathNot: TESTS }, to: { path: TESTS } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)(dist|fixtures|\\.isotope)/" },
    includeOnly:
      "^(api|sdk|kube|net|localkube|controller|engine|workflows|cli|local|env-images|scripts|test)/",
    parser: "swc",
    enhancedResolveOptions: { extensions: [".ts", ".mjs", ".js"] },
  },
};
