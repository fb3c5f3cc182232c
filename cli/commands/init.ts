import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { CliError, type Command, defineCommand } from "../command.ts";
import { ownVersion } from "../version.ts";

const TEMPLATE = join(import.meta.dirname, "..", "template");

/** npm leaves .gitignore files out of packages; tools take a tsconfig.json for one of this repository. */
const RENAMED: Readonly<Record<string, string>> = {
  gitignore: ".gitignore",
  "tsconfig.template.json": "tsconfig.json",
};

function* templateFiles(folder = TEMPLATE): Generator<string> {
  for (const item of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, item.name);
    if (item.isDirectory()) yield* templateFiles(path);
    else yield path;
  }
}

/** Whether this program runs from a clone of the repository instead of an installed package. */
const FROM_CLONE = import.meta.filename.endsWith(".ts");
const PACKAGE_ROOT = join(import.meta.dirname, "..", "..");

const packageJson = (name: string): string =>
  `${JSON.stringify(
    {
      name,
      private: true,
      type: "module",
      scripts: { dev: "isotope dev", deploy: "isotope deploy", check: "tsc" },
      devDependencies: {
        ...(FROM_CLONE ? {} : { "@isotope/platform": `^${ownVersion()}` }),
        typescript: "^7.0.0",
      },
    },
    null,
    2,
  )}\n`;

/** What is left to do before the folder's own `isotope` runs. */
function installing(target: string): string[] {
  if (existsSync(join(target, "node_modules", "@isotope", "platform"))) return [];
  if (!FROM_CLONE) return ["npm install"];
  const tarball = `isotope-platform-${ownVersion()}.tgz`;
  return [`npm pack ${PACKAGE_ROOT}`, `npm install ./${tarball}`];
}

export const init: Command = defineCommand({
  noun: "",
  verb: "init",
  summary: "Write a first function into a folder",
  description:
    "Writes functions/hello.ts, package.json, tsconfig.json and .gitignore. Files that exist are left as they are.",
  examples: ["isotope init", "isotope init shop"],
  positionals: [{ name: "dir", help: "Folder; default: this folder" }],
  flags: {},
  async run({ positionals }, context) {
    const target = resolve(context.cwd, positionals[0] ?? ".");
    const functions = join(target, "functions");
    if (existsSync(functions) && readdirSync(functions).length > 0)
      throw new CliError(`Cannot begin a project in "${target}": functions/ holds files already`);
    const files = new Map<string, string>([
      [
        "package.json",
        packageJson(
          basename(target)
            .toLowerCase()
            .replace(/[^a-z0-9-]+/g, "-")
            .replace(/^-+|-+$/g, "") || "functions",
        ),
      ],
    ]);
    for (const path of templateFiles()) {
      const name = relative(TEMPLATE, path);
      files.set(RENAMED[name] ?? name, readFileSync(path, "utf8"));
    }
    for (const [name, content] of files) {
      const path = join(target, name);
      if (existsSync(path)) {
        context.out(`  = ${name} exists\n`);
        continue;
      }
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
      context.out(`  + ${name}\n`);
    }
    const place = relative(context.cwd, target);
    const steps = [
      ...(place ? [`cd ${place}`] : []),
      ...installing(target),
      "npx isotope dev",
      "curl http://127.0.0.1:8888/hello/Ada",
    ];
    context.out(`\nNext:\n${steps.map((step) => `  ${step}\n`).join("")}`);
    return 0;
  },
});
