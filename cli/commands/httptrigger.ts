import type { z } from "zod";
import { type HTTPTrigger, HTTPTriggerSpec } from "../../api/kinds/index.ts";
import { ANNOTATION_PREVIEW, API_GROUP_VERSION } from "../../api/names.ts";
import { FUNCTIONS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { type Command, defineCommand, type Flags, type FlagValues, UsageError } from "../command.ts";
import { fieldFlag } from "../field-flag.ts";
import {
  deleteCommand,
  getCommand,
  listCommand,
  type NounKind,
  notFound,
  waitCommand,
} from "../generic-verbs.ts";
import { checkName, generatedName, parsePairList } from "../names.ts";
import { checkSticky, STICKY_FLAG, withSticky } from "../releases/sticky-flag.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";
import { functionRef, TARGET_FLAGS, targetText } from "../target-flags.ts";
import { checkMethods } from "./route-flags.ts";

type Spec = z.infer<typeof HTTPTriggerSpec>;

const KIND: NounKind<HTTPTrigger> = {
  noun: "httptrigger",
  type: HTTP_TRIGGERS,
  columns: [
    {
      header: "METHODS",
      value: ({ spec }) => (spec.methods?.length ? spec.methods.join(",") : spec.method || "GET"),
    },
    { header: "HOST", value: ({ spec }) => spec.host || spec.routeConfig?.hostnames?.join(",") },
    { header: "PATH", value: ({ spec }) => spec.relativeurl || (spec.prefix ? `${spec.prefix}*` : "") },
    { header: "FUNCTION", value: ({ spec }) => targetText(spec.functionref) },
  ],
};

const SHARED = {
  url: fieldFlag(HTTPTriggerSpec, "relativeurl", { type: "string" }),
  prefix: fieldFlag(HTTPTriggerSpec, "prefix", { type: "string" }),
  keepprefix: fieldFlag(HTTPTriggerSpec, "keepPrefix", { type: "boolean" }),
  method: { type: "strings", help: "Method; default GET" },
  host: fieldFlag(HTTPTriggerSpec, "host", { type: "string" }),
  ...TARGET_FLAGS,
  sticky: STICKY_FLAG,
  preview: { type: "boolean", help: "Let testers name the version that answers them, by header or cookie" },
  "invocation-mode": fieldFlag(HTTPTriggerSpec, "invocationMode", {
    type: "string",
    help: "async: answer 202 at once",
  }),
  "route-provider": fieldFlag(HTTPTriggerSpec, "routeConfig.provider", {
    type: "string",
    help: "What offers the route outside the cluster",
  }),
  "route-host": { type: "strings", help: "Host name of the route outside the cluster" },
  "route-path": { type: "string", help: "Path of the route outside the cluster" },
  "route-annotation": { type: "strings", help: "Annotation of the route object, k=v" },
  "route-tls": { type: "string", help: "Secret with the route's certificate" },
  gateway: { type: "strings", help: "Gateway, [namespace/]name" },
  createingress: { type: "boolean", help: "Deprecated: use --route-provider ingress" },
  ingressrule: { type: "string", help: "Deprecated: host=path of the Ingress" },
  ingressannotation: { type: "strings", help: "Deprecated: annotation of the Ingress, k=v" },
  ingresstls: { type: "string", help: "Deprecated: secret with the Ingress' certificate" },
} as const satisfies Flags;
type Values = FlagValues<typeof SHARED>;

function routeConfig(flags: Values): Spec["routeConfig"] | undefined {
  const config = {
    ...(flags["route-provider"] ? { provider: flags["route-provider"] as "ingress" } : {}),
    ...(flags["route-host"].length > 0 ? { hostnames: flags["route-host"] } : {}),
    ...(flags["route-path"] ? { path: flags["route-path"] } : {}),
    ...(flags["route-annotation"].length > 0
      ? { annotations: parsePairList(flags["route-annotation"], "--route-annotation") }
      : {}),
    ...(flags["route-tls"] ? { tls: flags["route-tls"] } : {}),
    ...(flags.gateway.length > 0
      ? {
          gateway: {
            parentRefs: flags.gateway.map((text) =>
              text.includes("/")
                ? { namespace: text.split("/")[0], name: text.split("/")[1] ?? "" }
                : { name: text },
            ),
          },
        }
      : {}),
  };
  return Object.keys(config).length > 0 ? config : undefined;
}

/** The object with the annotations that flags stand for. */
function annotated(trigger: HTTPTrigger, flags: Values, given: ReadonlySet<string>): HTTPTrigger {
  const next = withSticky(trigger, flags.sticky);
  if (!given.has("preview")) return next;
  const { [ANNOTATION_PREVIEW]: _before, ...rest } = next.metadata.annotations ?? {};
  const annotations = flags.preview ? { ...rest, [ANNOTATION_PREVIEW]: "true" } : rest;
  return { ...next, metadata: { ...next.metadata, annotations } };
}

function applyFlags(spec: Spec, flags: Values, given: ReadonlySet<string>): Spec {
  if (flags.url && flags.prefix) throw new UsageError("--url and --prefix exclude each other");
  const next = { ...spec };
  if (flags.url) {
    next.relativeurl = flags.url;
    delete next.prefix;
  }
  if (flags.prefix) {
    next.prefix = flags.prefix;
    delete next.relativeurl;
  }
  if (given.has("keepprefix")) next.keepPrefix = flags.keepprefix;
  if (flags.method.length > 0) next.methods = checkMethods(flags.method);
  if (flags.host !== undefined) next.host = flags.host;
  if (flags["invocation-mode"]) next.invocationMode = flags["invocation-mode"] as "async";
  const config = routeConfig(flags);
  if (config) next.routeConfig = { ...next.routeConfig, ...config };
  if (given.has("createingress")) next.createingress = flags.createingress;
  if (flags.ingressrule || flags.ingressannotation.length > 0 || flags.ingresstls) {
    const [host, path] = flags.ingressrule?.split("=") ?? [];
    next.ingressconfig = {
      ...next.ingressconfig,
      ...(host ? { host } : {}),
      ...(path ? { path } : {}),
      ...(flags.ingressannotation.length > 0
        ? { annotations: parsePairList(flags.ingressannotation, "--ingressannotation") }
        : {}),
      ...(flags.ingresstls ? { tls: flags.ingresstls } : {}),
    };
  }
  return next;
}

export const httptriggerCommands: readonly Command[] = [
  defineCommand({
    noun: "httptrigger",
    verb: "create",
    summary: "Create a route to a function",
    examples: [
      "isotope route create --url /hello --function hello",
      "isotope route create --url /hello --function hello --function-alias live",
      "isotope route create --url /shop --function shop-a --function shop-b --weight 90 --weight 10 --sticky cookie:session",
      "isotope route create --prefix /api --keepprefix --function api --method GET --method POST",
    ],
    flags: {
      name: { type: "string", help: "Name; default: a generated one" },
      function: { type: "strings", help: "Function to call; several with --weight" },
      ...SHARED,
      ...SAVE_FLAGS,
    },
    async run({ flags, given }, context) {
      const namespace = await context.namespace();
      const functionref = functionRef(flags.function, flags);
      if (!flags.url && !flags.prefix) throw new UsageError("one of --url and --prefix is required");
      if (!flags.spec && !flags.dry) {
        const kube = await context.kube();
        for (const name of flags.function)
          if (!(await kube.find(FUNCTIONS, { namespace, name })))
            context.note(`Warning: function "${name}" does not exist in namespace "${namespace}" yet`);
      }
      checkSticky(flags.sticky);
      const spec = applyFlags(HTTPTriggerSpec.parse({ functionref, methods: ["GET"] }), flags, given);
      const name = flags.name ? checkName(flags.name) : generatedName(functionref.name);
      return createOrSave(
        context,
        HTTP_TRIGGERS,
        annotated(
          { apiVersion: API_GROUP_VERSION, kind: "HTTPTrigger", metadata: { name, namespace }, spec },
          flags,
          given,
        ),
        flags,
      );
    },
  }),
  defineCommand({
    noun: "httptrigger",
    verb: "update",
    summary: "Change a route",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      function: { type: "strings", help: "Function to call; several with --weight" },
      ...SHARED,
    },
    async run({ flags, given }, context) {
      checkSticky(flags.sticky);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      await changeObject(kube, KIND, { namespace, name: flags.name }, (live) => {
        const spec = applyFlags(live.spec, flags, given);
        if (flags.function.length > 0) spec.functionref = functionRef(flags.function, flags);
        else if (flags["function-alias"] || flags["function-version"])
          spec.functionref = functionRef([live.spec.functionref.name], flags);
        return annotated({ ...live, spec }, flags, given);
      });
      context.out(`httptrigger "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND, {
    flag: "function",
    help: "Only routes to this function",
    keep: ({ spec: { functionref } }, name) =>
      functionref.name === name || Object.hasOwn(functionref.functionweights ?? {}, name),
  }),
  defineCommand({
    noun: "httptrigger",
    verb: "delete",
    aliases: ["rm"],
    summary: "Delete a route, or all routes of a function",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name" },
      function: { type: "string", help: "Delete all routes of this function" },
      force: { type: "boolean", short: "f", help: "Accepted for symmetry" },
      ignorenotfound: { type: "boolean", help: "Succeed when it does not exist" },
    },
    async run(input, context) {
      const { flags } = input;
      if (Boolean(flags.name) === Boolean(flags.function))
        throw new UsageError("either --name or --function is required");
      if (flags.name) return deleteCommand(KIND).run(input, context);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const routes = (await kube.list(HTTP_TRIGGERS, { namespace })).items.filter(
        ({ spec }) => spec.functionref.name === flags.function,
      );
      if (routes.length === 0 && !flags.ignorenotfound)
        throw notFound("httptrigger", "Route of function", flags.function ?? "", namespace);
      for (const { metadata } of routes) {
        await kube.delete(HTTP_TRIGGERS, { namespace, name: metadata.name });
        context.out(`httptrigger "${metadata.name}" deleted\n`);
      }
      return 0;
    },
  }),
  waitCommand(KIND),
];
