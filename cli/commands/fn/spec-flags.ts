import { EXECUTOR_TYPES, type FunctionSpec as Spec, FunctionSpec } from "../../../api/kinds/index.ts";
import { type Flags, type FlagValues, UsageError } from "../../command.ts";
import { fieldFlag } from "../../field-flag.ts";
import { resourcesOf, RESOURCE_FLAGS } from "../../resource-flags.ts";
import { ASYNC_FLAGS, invocationOf } from "./async-flags.ts";

const field = FunctionSpec;
const STRATEGY = "InvokeStrategy.ExecutionStrategy";

/** Flags that set fields of Function.spec, for create and update. */
export const SPEC_FLAGS = {
  executortype: { type: "string", help: "How pods are had; default poolmgr", choices: EXECUTOR_TYPES },
  secret: { type: "strings", help: "Secret given as files" },
  configmap: { type: "strings", help: "Config map given as files" },
  "env-var": { type: "strings", short: "e", help: "Environment variable, k=v" },
  "env-from-secret": { type: "strings", help: "All keys of a secret as environment variables" },
  "env-from-configmap": { type: "strings", help: "All keys of a config map as environment variables" },
  specializationtimeout: fieldFlag(field, `${STRATEGY}.SpecializationTimeout`, {
    type: "integer",
    aliases: ["st"],
  }),
  fntimeout: fieldFlag(field, "functionTimeout", { type: "integer", aliases: ["ft"] }),
  idletimeout: fieldFlag(field, "idletimeout", { type: "integer" }),
  concurrency: fieldFlag(field, "concurrency", { type: "integer", aliases: ["con"] }),
  requestsperpod: fieldFlag(field, "requestsPerPod", { type: "integer", aliases: ["rpp"] }),
  onceonly: fieldFlag(field, "onceOnly", { type: "boolean", aliases: ["yolo"] }),
  retainpods: fieldFlag(field, "retainPods", { type: "integer" }),
  streaming: { type: "boolean", help: "Answers stream; no total timeout" },
  streamingprotocol: fieldFlag(field, "streaming.protocol", { type: "string" }),
  streamingidletimeout: fieldFlag(field, "streaming.idleTimeoutSeconds", { type: "integer" }),
  streamingmaxduration: fieldFlag(field, "streaming.maxDurationSeconds", { type: "integer" }),
  minscale: fieldFlag(field, `${STRATEGY}.MinScale`, { type: "integer" }),
  maxscale: fieldFlag(field, `${STRATEGY}.MaxScale`, { type: "integer" }),
  targetcpu: fieldFlag(field, `${STRATEGY}.TargetCPUPercent`, { type: "integer" }),
  versioning: {
    type: "string",
    help: "Publish versions: auto with every change that serves, manual with fn publish",
    choices: ["auto", "manual"],
  },
  "retain-versions": fieldFlag(field, "versioning.retain", {
    type: "integer",
    help: "How many versions are kept; default 10",
  }),
  ...ASYNC_FLAGS,
  ...RESOURCE_FLAGS,
} as const satisfies Flags;

type Values = FlagValues<typeof SPEC_FLAGS>;
type FunctionSpecValue = import("zod").infer<typeof Spec>;

function variables(flags: Values) {
  return flags["env-var"].map((pair) => {
    const equals = pair.indexOf("=");
    if (equals < 1) throw new UsageError(`--env-var must be key=value, got "${pair}"`);
    return { name: pair.slice(0, equals), value: pair.slice(equals + 1) };
  });
}

function streamingOf(
  flags: Values,
  given: ReadonlySet<string>,
  live: FunctionSpecValue["streaming"],
): FunctionSpecValue["streaming"] | undefined {
  if (given.has("streaming") && !flags.streaming) return undefined;
  const details = {
    ...(flags.streamingprotocol ? { protocol: flags.streamingprotocol as "auto" } : {}),
    ...(flags.streamingidletimeout === undefined ? {} : { idleTimeoutSeconds: flags.streamingidletimeout }),
    ...(flags.streamingmaxduration === undefined ? {} : { maxDurationSeconds: flags.streamingmaxduration }),
  };
  if (!live && !flags.streaming && Object.keys(details).length === 0) return undefined;
  return { protocol: "auto", ...live, ...details };
}

/** The spec with everything that the flags say put in; what they do not name stays. */
export function applySpecFlags(
  spec: FunctionSpecValue,
  flags: Values,
  given: ReadonlySet<string>,
  namespace: string,
): FunctionSpecValue {
  const next = structuredClone(spec);
  const strategy = { ...next.InvokeStrategy.ExecutionStrategy };
  if (flags.executortype) strategy.ExecutorType = flags.executortype as "poolmgr";
  if (flags.specializationtimeout !== undefined) strategy.SpecializationTimeout = flags.specializationtimeout;
  if (flags.minscale !== undefined) strategy.MinScale = flags.minscale;
  if (flags.maxscale !== undefined) strategy.MaxScale = flags.maxscale;
  if (flags.targetcpu !== undefined) strategy.TargetCPUPercent = flags.targetcpu;
  next.InvokeStrategy = { StrategyType: "execution", ExecutionStrategy: strategy };
  const refs = (names: readonly string[]) => names.map((name) => ({ namespace, name }));
  if (flags.secret.length > 0) next.secrets = refs(flags.secret);
  if (flags.configmap.length > 0) next.configmaps = refs(flags.configmap);
  if (flags["env-var"].length > 0) {
    const set = variables(flags);
    next.env = [...(next.env ?? []).filter((old) => !set.some(({ name }) => name === old.name)), ...set];
  }
  const sources = [
    ...flags["env-from-secret"].map((name) => ({ secretRef: { name } })),
    ...flags["env-from-configmap"].map((name) => ({ configMapRef: { name } })),
  ];
  if (sources.length > 0) next.envFrom = sources;
  if (flags.fntimeout !== undefined) next.functionTimeout = flags.fntimeout;
  if (flags.idletimeout !== undefined) next.idletimeout = flags.idletimeout;
  if (flags.concurrency !== undefined) next.concurrency = flags.concurrency;
  if (flags.requestsperpod !== undefined) next.requestsPerPod = flags.requestsperpod;
  if (given.has("onceonly")) next.onceOnly = flags.onceonly;
  if (flags.retainpods !== undefined) next.retainPods = flags.retainpods;
  if (flags.versioning || flags["retain-versions"] !== undefined)
    next.versioning = {
      mode: next.versioning?.mode ?? "manual",
      ...next.versioning,
      ...(flags.versioning ? { mode: flags.versioning as "auto" } : {}),
      ...(flags["retain-versions"] === undefined ? {} : { retain: flags["retain-versions"] }),
    };
  const streaming = streamingOf(flags, given, next.streaming);
  if (streaming) next.streaming = streaming;
  else delete next.streaming;
  const invocation = invocationOf(flags, next.invocation);
  if (invocation) next.invocation = invocation;
  const resources = resourcesOf(flags, next.resources);
  if (resources) next.resources = resources;
  return next;
}
