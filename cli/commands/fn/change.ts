import { ANNOTATION_ENTRY, API_GROUP_VERSION } from "../../../api/names.ts";
import {
  type Function as FunctionObject,
  FunctionSpec,
  HTTPTriggerSpec,
  type Package,
  PackageSpec,
} from "../../../api/kinds/index.ts";
import { FUNCTIONS, HTTP_TRIGGERS, PACKAGES } from "../../../kube/kinds.ts";
import { changeObject } from "../../change-object.ts";
import { CODE_FLAGS, codeArchives, entryOfFolder } from "../../code-archive.ts";
import { CliError, type Command, defineCommand, UsageError } from "../../command.ts";
import { notFound } from "../../generic-verbs.ts";
import { checkName, generatedName, parsePairList, parsePairs } from "../../names.ts";
import { pinnedRoutes } from "../../releases/pinned-routes.ts";
import { createOrSave, SAVE_FLAGS } from "../../save.ts";
import { environmentBuilds } from "../pkg.ts";
import { checkMethods } from "../route-flags.ts";
import { applySpecFlags, SPEC_FLAGS } from "./spec-flags.ts";

const META_FLAGS = {
  labels: { type: "string", help: "Labels, k=v,k2=v2" },
  annotation: { type: "strings", help: "Annotation, k=v" },
} as const;
const PLACE = [{ name: "name", help: "Name", flag: "name" }] as const;

export const createFunction: Command = defineCommand({
  noun: "fn",
  verb: "create",
  summary: "Create a function from a file, an archive or a package",
  examples: [
    "isotope fn create --name hello --env deno --code hello.ts --url /hello",
    "isotope fn create --name api --env deno --src ./api --entrypoint .handler",
  ],
  positionals: PLACE,
  flags: {
    name: { type: "string", help: "Name", required: true },
    env: { type: "string", help: "Environment; default deno" },
    pkgname: { type: "string", aliases: ["pkg"], help: "Package that exists already" },
    entrypoint: { type: "string", aliases: ["entry"], help: "What to call: file, file.export or .export" },
    url: { type: "string", help: "Make a route to this path" },
    prefix: { type: "string", help: "Make a route to this path prefix" },
    method: { type: "strings", help: "Methods of the route; default GET" },
    ...META_FLAGS,
    ...CODE_FLAGS,
    ...SPEC_FLAGS,
    ...SAVE_FLAGS,
  },
  async run({ flags, given }, context) {
    const name = checkName(flags.name);
    const namespace = await context.namespace();
    const offline = flags.spec || flags.dry;
    const metadata = {
      name,
      namespace,
      labels: parsePairs(flags.labels, "--labels"),
      annotations: parsePairList(flags.annotation, "--annotation"),
    };
    const methods = checkMethods(flags.method.length > 0 ? flags.method : ["GET"]);
    let env = flags.env ?? "deno";
    let created: Package | undefined;
    const entry = entryOfFolder(context.cwd, flags.sourcearchive, flags.entrypoint ?? "");
    if (flags.pkgname) {
      const found = offline
        ? undefined
        : await (await context.kube()).find(PACKAGES, { namespace, name: flags.pkgname });
      if (!offline && !found) throw notFound("pkg", "Package", flags.pkgname, namespace);
      env = flags.env ?? found?.spec.environment.name ?? env;
    } else {
      const archives = await codeArchives(
        context,
        flags,
        offline ? true : await environmentBuilds(context, env),
      );
      if (!archives.source && !archives.deployment)
        throw new UsageError(
          "one of --code, --sourcearchive, --deployarchive, --oci and --pkgname is required",
        );
      created = {
        apiVersion: API_GROUP_VERSION,
        kind: "Package",
        metadata: {
          name: generatedName(name),
          namespace,
          ...(entry.file ? { annotations: { [ANNOTATION_ENTRY]: entry.file } } : {}),
        },
        spec: PackageSpec.parse({
          environment: { namespace, name: env },
          ...archives,
          ...(flags.buildcmd ? { buildcmd: flags.buildcmd } : {}),
        }),
      };
    }
    const base = FunctionSpec.parse({
      environment: { namespace, name: env },
      package: {
        packageref: { namespace, name: flags.pkgname ?? created?.metadata.name },
        functionName: entry.functionName,
      },
      InvokeStrategy: { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "poolmgr" } },
    });
    const object: FunctionObject = {
      apiVersion: API_GROUP_VERSION,
      kind: "Function",
      metadata,
      spec: applySpecFlags(base, flags, given, namespace),
    };
    if (!offline && (await (await context.kube()).find(FUNCTIONS, { namespace, name }))) {
      throw new CliError(
        `Function "${name}" exists already in namespace "${namespace}": change it with \`isotope fn update\`, or delete it first`,
      );
    }
    if (created) await createOrSave(context, PACKAGES, created, flags);
    await createOrSave(context, FUNCTIONS, object, flags);
    if (flags.url || flags.prefix) {
      await createOrSave(
        context,
        HTTP_TRIGGERS,
        {
          apiVersion: API_GROUP_VERSION,
          kind: "HTTPTrigger",
          metadata: { name: generatedName(name), namespace },
          spec: HTTPTriggerSpec.parse({
            functionref: { type: "name", name },
            methods,
            ...(flags.url ? { relativeurl: flags.url } : { prefix: flags.prefix }),
          }),
        },
        flags,
      );
    }
    return 0;
  },
});

export const updateFunction: Command = defineCommand({
  noun: "fn",
  verb: "update",
  summary: "Change a function or its code",
  positionals: PLACE,
  flags: {
    name: { type: "string", help: "Name", required: true },
    env: { type: "string", help: "Environment" },
    pkgname: { type: "string", aliases: ["pkg"], help: "Use this package" },
    entrypoint: { type: "string", aliases: ["entry"], help: "What to call: file, file.export or .export" },
    force: { type: "boolean", short: "f", help: "Change a package that other functions share" },
    ...META_FLAGS,
    ...CODE_FLAGS,
    ...SPEC_FLAGS,
  },
  async run({ flags, given }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const live = await kube.find(FUNCTIONS, { namespace, name: flags.name });
    if (!live) throw notFound("fn", "Function", flags.name, namespace);
    const env = flags.env ?? live.spec.environment.name ?? "";
    const archives = await codeArchives(context, flags, await environmentBuilds(context, env));
    if (archives.source || archives.deployment) {
      const pkgName = flags.pkgname ?? live.spec.package.packageref?.name ?? "";
      const sharers = (await kube.list(FUNCTIONS, { namespace })).items.filter(
        (other) => other.spec.package.packageref?.name === pkgName,
      );
      if (sharers.length > 1 && !flags.force)
        throw new CliError(
          `Cannot update package "${pkgName}": ${sharers.length} functions share it; --force changes all of them`,
        );
      await changeObject(kube, { noun: "pkg", type: PACKAGES }, { namespace, name: pkgName }, (pkg) => {
        const packageSpec = { ...pkg.spec, ...archives };
        if (archives.deployment && !archives.source) delete packageSpec.source;
        return { ...pkg, spec: packageSpec };
      });
      context.out(`package "${pkgName}" updated\n`);
    }
    await changeObject(kube, { noun: "fn", type: FUNCTIONS }, { namespace, name: flags.name }, (current) => {
      const spec = applySpecFlags(current.spec, flags, given, namespace);
      if (flags.env) spec.environment = { namespace, name: flags.env };
      if (flags.entrypoint !== undefined) spec.package.functionName = flags.entrypoint;
      if (flags.pkgname) spec.package.packageref = { namespace, name: flags.pkgname };
      const metadata = {
        ...current.metadata,
        labels: { ...current.metadata.labels, ...parsePairs(flags.labels, "--labels") },
        annotations: { ...current.metadata.annotations, ...parsePairList(flags.annotation, "--annotation") },
      };
      return { ...current, metadata, spec };
    });
    context.out(`function "${flags.name}" updated\n`);
    const { items } = await kube.list(HTTP_TRIGGERS, { namespace });
    for (const line of pinnedRoutes(items, flags.name)) context.note(line);
    return 0;
  },
});
