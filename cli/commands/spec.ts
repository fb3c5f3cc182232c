import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { stringify } from "yaml";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { CliError, type Command, defineCommand } from "../command.ts";
import type { CliContext } from "../context.ts";
import { foldersOf, watchFolders } from "../deploy/watch-files.ts";
import { applySpecs, ownedObjects, planSpecs, type SpecAction } from "../spec/apply-specs.ts";
import { readSpecs, type Specs } from "../spec/read-specs.ts";
import { waitCommand } from "../generic-verbs.ts";

const DIR = { type: "string", help: "Folder of the specs; default: ./specs" } as const;
const IGNORE = {
  type: "string",
  help: "File with patterns to ignore; default: <specdir>/.specignore",
} as const;
const CONFIG_FILE = "fission-deployment-config.yaml";

const folderOf = (context: CliContext, given: string | undefined): string =>
  resolve(context.cwd, given ?? "specs");

function checkedSpecs(
  context: CliContext,
  flags: { specdir: string | undefined; specignore: string | undefined },
): Specs {
  const specs = readSpecs(
    folderOf(context, flags.specdir),
    flags.specignore ? resolve(context.cwd, flags.specignore) : undefined,
  );
  if (specs.problems.length > 0)
    throw new CliError(
      `The specs have ${specs.problems.length} problem${specs.problems.length === 1 ? "" : "s"}:\n  ${specs.problems.join("\n  ")}`,
    );
  return specs;
}

function show(actions: readonly SpecAction[], prune: boolean, context: CliContext): void {
  const signs = { create: "+", update: "~", unchanged: "=", delete: "-" } as const;
  for (const { action, type, object } of actions) {
    if (action === "unchanged") continue;
    if (action === "delete" && !prune)
      context.note(
        `  ! ${type.kind.toLowerCase()}/${object.metadata.name} is in no spec any more: --delete deletes it`,
      );
    else context.out(`  ${signs[action]} ${type.kind.toLowerCase()}/${object.metadata.name}\n`);
  }
  const unchanged = actions.filter(({ action }) => action === "unchanged").length;
  if (unchanged > 0) context.out(`  = ${unchanged} unchanged\n`);
}

async function waitForAll(actions: readonly SpecAction[], context: CliContext): Promise<void> {
  for (const { type, object } of actions) {
    if (type.kind !== "Function" && type.kind !== "HTTPTrigger" && type.kind !== "Package") continue;
    const wait = waitCommand({ noun: "spec", type, columns: [] });
    await wait.run(
      {
        flags: { name: object.metadata.name, for: "condition=Ready", timeout: 180_000 },
        positionals: [],
        given: new Set(),
      },
      context,
    );
  }
}

const initSpec = defineCommand({
  noun: "spec",
  verb: "init",
  summary: "Begin a folder of specs",
  flags: {
    name: { type: "string", help: "Name of the application; default: the folder's name" },
    deployid: { type: "string", aliases: ["id"], help: "Its id; default: a new one" },
    specdir: DIR,
  },
  async run({ flags }, context) {
    const folder = folderOf(context, flags.specdir);
    const path = join(folder, CONFIG_FILE);
    if (existsSync(path)) throw new CliError(`Cannot begin: "${path}" exists`);
    mkdirSync(folder, { recursive: true });
    const name = flags.name ?? basename(dirname(folder));
    writeFileSync(
      path,
      `# Tells the objects of this application from others: keep it, and commit it.\n${stringify({ apiVersion: API_GROUP_VERSION, kind: "DeploymentConfig", name, uid: flags.deployid ?? randomUUID() })}`,
    );
    context.out(`Wrote ${path}\n`);
    return 0;
  },
});

const validateSpec = defineCommand({
  noun: "spec",
  verb: "validate",
  summary: "Check specs without applying them",
  flags: {
    specdir: DIR,
    specignore: IGNORE,
    allowconflicts: { type: "boolean", help: "Accept objects that belong to others" },
  },
  async run({ flags }, context) {
    const specs = checkedSpecs(context, flags);
    context.out(`${specs.objects.length} objects and ${specs.archives.length} archives are valid\n`);
    return 0;
  },
});

const applySpec = defineCommand({
  noun: "spec",
  verb: "apply",
  summary: "Make the platform hold what the specs say",
  flags: {
    specdir: DIR,
    specignore: IGNORE,
    delete: { type: "boolean", help: "Delete objects of this application that are in no spec any more" },
    wait: { type: "boolean", help: "Wait until everything is ready" },
    watch: { type: "boolean", help: "Apply again whenever a file changes" },
    validation: { type: "string", help: "Validation", ignored: "accepted, always on" },
    commitlabel: { type: "boolean", help: "Label objects with the commit", ignored: "accepted for scripts" },
    allowconflicts: { type: "boolean", help: "Take over objects that belong to others" },
    "force-namespace": {
      type: "boolean",
      aliases: ["force"],
      help: "Put everything into the namespace of --namespace",
    },
    "dry-run": { type: "boolean", help: "Show what would be done" },
  },
  async run({ flags }, context) {
    const once = async (): Promise<Specs> => {
      const specs = checkedSpecs(context, flags);
      const actions = await planSpecs(specs, context, {
        namespace: await context.namespace(),
        forceNamespace: flags["force-namespace"],
        dryRun: flags["dry-run"],
        allowConflicts: flags.allowconflicts,
      });
      show(actions, flags.delete, context);
      if (flags["dry-run"]) return specs;
      await applySpecs(await context.kube(), actions, flags.delete);
      if (flags.wait) await waitForAll(actions, context);
      return specs;
    };
    if (!flags.watch) {
      await once();
      return 0;
    }
    let running: Promise<unknown> = Promise.resolve();
    const watching = watchFolders((paths) => {
      if ([...paths].every((path) => path.includes("/.isotope/"))) return;
      running = running
        .then(once)
        .catch((error: unknown) => context.note(error instanceof Error ? error.message : String(error)));
    });
    // From before the first time on: what is saved while it goes on is applied after it.
    const folder = folderOf(context, flags.specdir);
    const project = dirname(folder);
    watching.update([folder, project]);
    const first = once();
    running = first.catch(() => undefined);
    const specs = await first.catch((error: unknown) => {
      watching.close();
      throw error;
    });
    watching.update([
      folder,
      project,
      ...foldersOf(
        specs.archives.flatMap(({ rootdir, include }) =>
          include.map((pattern) => join(project, rootdir ?? ".", pattern.replace(/\*.*$/, "x"))),
        ),
      ),
    ]);
    context.note("Watching for changes; Ctrl-C ends");
    await new Promise<void>((done) => context.signal.addEventListener("abort", () => done(), { once: true }));
    watching.close();
    await running;
    return 0;
  },
});

const destroySpec = defineCommand({
  noun: "spec",
  verb: "destroy",
  summary: "Delete everything that the specs' application owns",
  flags: {
    specdir: DIR,
    specignore: IGNORE,
    force: { type: "boolean", help: "Also what another folder with the same id made" },
  },
  async run({ flags }, context) {
    const specs = readSpecs(
      folderOf(context, flags.specdir),
      flags.specignore ? resolve(context.cwd, flags.specignore) : undefined,
    );
    const kube = await context.kube();
    const named = new Set(specs.objects.map(({ object }) => `${object.kind}/${object.metadata.name}`));
    const owned = (await ownedObjects(kube, specs.deployment.uid, undefined)).filter(
      ({ type, object }) => flags.force || named.has(`${type.kind}/${object.metadata.name}`),
    );
    for (const { type, object } of owned.toReversed()) {
      await kube.delete(type, { namespace: object.metadata.namespace, name: object.metadata.name });
      context.out(`  - ${type.kind.toLowerCase()}/${object.metadata.name}\n`);
    }
    if (owned.length === 0) context.note("Nothing to delete");
    return 0;
  },
});

const listSpec = defineCommand({
  noun: "spec",
  verb: "list",
  aliases: ["ls"],
  summary: "List what an application owns",
  flags: {
    deployid: { type: "string", aliases: ["id"], help: "Id of the application; default: that of the specs" },
    specdir: DIR,
    specignore: IGNORE,
    "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
  },
  async run({ flags }, context) {
    const uid = flags.deployid ?? readSpecs(folderOf(context, flags.specdir)).deployment.uid;
    const namespace = flags["all-namespaces"] ? undefined : await context.namespace();
    for (const { type, object } of await ownedObjects(await context.kube(), uid, namespace))
      context.out(`${type.kind.toLowerCase()}/${object.metadata.name}\n`);
    return 0;
  },
});

export const specCommands: readonly Command[] = [initSpec, validateSpec, applySpec, destroySpec, listSpec];
