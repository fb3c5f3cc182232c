import { stringify } from "yaml";
import type {
  Condition,
  Function as FunctionObject,
  FunctionAlias,
  FunctionSpec,
  FunctionVersion,
  HTTPTrigger,
} from "../../../api/kinds/index.ts";
import { ANNOTATION_DESCRIPTION } from "../../../api/names.ts";
import { FUNCTIONS, HTTP_TRIGGERS, PACKAGES } from "../../../kube/kinds.ts";
import { type Command, defineCommand } from "../../command.ts";
import type { CliContext } from "../../context.ts";
import { notFound } from "../../generic-verbs.ts";
import { age } from "../../output.ts";
import { aliasShares } from "../../releases/alias-shares.ts";
import { findVersion } from "../../releases/chosen-revisions.ts";
import { aliasesOf } from "../../releases/function-versions.ts";

/** `GET http://127.0.0.1:8888/shop -> alias shop-live`, of the ways that lead to the function. */
function routeText({ spec }: HTTPTrigger, name: string, routerUrl: string): string {
  const { type, alias, version, functionweights } = spec.functionref;
  const host = spec.host ? `(host ${spec.host})` : "";
  const address = `${spec.methods?.join(",") || spec.method || "GET"} ${routerUrl}${host}${spec.relativeurl ?? `${spec.prefix}*`}`;
  if (type === "function-weights") return `${address} ${functionweights?.[name] ?? 0} %`;
  if (alias) return `${address} -> alias ${alias}`;
  return version ? `${address} -> version ${version}` : address;
}

const leadsTo = ({ spec: { functionref } }: HTTPTrigger, name: string): boolean =>
  functionref.type === "function-weights"
    ? Object.hasOwn(functionref.functionweights ?? {}, name)
    : functionref.name === name;

const conditionLines = (conditions: readonly Condition[] | undefined): string[] =>
  (conditions ?? []).map(({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`);

const executorOf = ({ InvokeStrategy }: FunctionSpec): string =>
  InvokeStrategy.ExecutionStrategy?.ExecutorType || "poolmgr";

/** What an alias stands for: `shop-v1 90 %, shop-v2 10 %`. */
function aliasText({ metadata, spec, status }: FunctionAlias): string {
  const { version = status?.resolvedVersion ?? spec.packageDigest, secondaryVersion, weight = 100 } = spec;
  const target = secondaryVersion
    ? `${version ?? "nothing"} ${weight} %, ${secondaryVersion} ${100 - weight} %`
    : (version ?? "nothing");
  return `${metadata.name}: ${target}`;
}

interface Found {
  fn: FunctionObject;
  aliases: readonly FunctionAlias[];
  triggers: readonly HTTPTrigger[];
}

async function functionSummary(context: CliContext, { fn, aliases, triggers }: Found): Promise<unknown> {
  const [kube, namespace] = [await context.kube(), await context.namespace()];
  const { metadata, spec, status } = fn;
  const pkgName = spec.package.packageref?.name;
  const pkg = pkgName ? await kube.find(PACKAGES, { namespace, name: pkgName }) : undefined;
  const routerUrl = context.routerUrl();
  return {
    Name: metadata.name,
    Namespace: namespace,
    Age: age(metadata.creationTimestamp),
    Environment: spec.environment.name,
    ...(pkgName
      ? { Package: `${pkgName} (${pkg ? (pkg.status?.buildstatus ?? "pending") : "not found"})` }
      : { Image: spec.podspec?.containers?.[0]?.image }),
    Executor: executorOf(spec),
    Revision: status?.serving?.revision ?? "none serves yet",
    Limits: status?.serving?.limits,
    Routes: triggers.map((trigger) => routeText(trigger, metadata.name, routerUrl)),
    ...(aliases.length > 0 ? { Aliases: aliases.map(aliasText) } : {}),
    Conditions: conditionLines(status?.conditions),
  };
}

function versionSummary(
  context: CliContext,
  version: FunctionVersion,
  { fn, aliases, triggers }: Found,
): unknown {
  const { metadata, spec, status } = version;
  const routerUrl = context.routerUrl();
  const own = aliases.filter((alias) => aliasShares(metadata.name, [alias]) !== "");
  const routes = triggers.filter(
    ({ spec: { functionref } }) =>
      functionref.version === metadata.name || own.some((alias) => alias.metadata.name === functionref.alias),
  );
  const revision = status?.serving?.revision;
  const isLatest = revision !== undefined && revision === fn.status?.serving?.revision;
  return {
    Name: metadata.name,
    Function: spec.functionName,
    Namespace: metadata.namespace ?? "default",
    Description: metadata.annotations?.[ANNOTATION_DESCRIPTION],
    Published: age(spec.publishedAt),
    Environment: spec.snapshot.environment.name,
    Image: spec.envRuntimeImage,
    Package: spec.packageDigest || undefined,
    Executor: executorOf(spec.snapshot),
    Revision: revision ? `${revision}${isLatest ? " (what the function serves)" : ""}` : "none serves yet",
    Limits: status?.serving?.limits,
    Aliases: aliasShares(metadata.name, aliases) || "none",
    Routes: routes.map((trigger) => routeText(trigger, spec.functionName, routerUrl)),
    Conditions: conditionLines(status?.conditions),
  };
}

export const describeFunction: Command = defineCommand({
  noun: "fn",
  verb: "describe",
  summary: "Show a function, its package, routes, aliases and conditions, or one of its versions",
  examples: ["isotope fn describe hello", "isotope fn describe hello --version hello-v3"],
  positionals: [{ name: "name", help: "Name", flag: "name" }],
  flags: {
    name: { type: "string", help: "Name", required: true },
    version: { type: "string", help: "Show this version of it" },
  },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const { name } = flags;
    const fn = await kube.find(FUNCTIONS, { namespace, name });
    if (!fn) throw notFound("fn", "Function", name, namespace);
    const [aliases, { items }] = await Promise.all([
      aliasesOf(kube, { namespace, name }),
      kube.list(HTTP_TRIGGERS, { namespace }),
    ]);
    const found = { fn, aliases, triggers: items.filter((trigger) => leadsTo(trigger, name)) };
    const summary = flags.version
      ? versionSummary(context, await findVersion(context, name, flags.version), found)
      : await functionSummary(context, found);
    context.out(stringify(summary, { lineWidth: 0 }));
    return 0;
  },
});
