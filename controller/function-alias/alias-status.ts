import {
  ALIAS_HISTORY,
  type FunctionAlias,
  type FunctionAliasStatus,
  type FunctionVersion,
} from "../../api/kinds/index.ts";
import { versionOfDigest } from "../../api/releases/alias.ts";
import { type ConditionUpdate, findCondition, rfc3339, setConditions } from "../../kube/conditions.ts";

/** What a reconcile makes of an alias: its next status, and what is worth an Event. */
export interface AliasOutcome {
  status: FunctionAliasStatus;
  events: { type: "Normal" | "Warning"; reason: string; message: string }[];
}

interface Resolved {
  readonly primary: FunctionVersion | undefined;
  readonly secondary: FunctionVersion | undefined;
  readonly condition: ConditionUpdate;
}

/**
 * The status of an alias, given the versions of its function. An alias that names a version that does not exist keeps the one that it
 * named last. The history gets one record whenever the version that is named becomes another. Pure.
 */
export function nextAliasStatus(
  alias: FunctionAlias,
  versions: readonly FunctionVersion[],
  now: Date,
): AliasOutcome {
  const before = alias.status ?? {};
  const generation = alias.metadata.generation;
  const resolved = resolveAlias(alias, versions);
  const { primary, condition } = resolved;
  const events: AliasOutcome["events"] = [];
  const version = primary?.metadata.name ?? before.resolvedVersion;
  const switched = primary !== undefined && version !== before.resolvedVersion;
  if (switched) {
    const instead = before.resolvedVersion ? ` instead of "${before.resolvedVersion}"` : "";
    events.push({
      type: "Normal",
      reason: "AliasSwitched",
      message: `Alias "${alias.metadata.name}" stands for version "${version ?? ""}"${instead}`,
    });
  }
  const old = findCondition(before.conditions, "Resolved");
  if (condition.status === "False" && (old?.reason !== condition.reason || old.message !== condition.message))
    events.push({ type: "Warning", reason: condition.reason, message: condition.message });
  const updates = [condition, driftCondition(resolved), readyCondition(resolved)];
  const conditions = setConditions(before.conditions, updates, { generation, now });
  const history = switched ? [record(primary, now), ...(before.history ?? [])] : before.history;
  return {
    status: {
      ...before,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      ...(version === undefined ? {} : { resolvedVersion: version }),
      ...(history ? { history: history.slice(0, ALIAS_HISTORY) } : {}),
      conditions: [...conditions],
    },
    events,
  };
}

function record({ metadata, spec }: FunctionVersion, now: Date) {
  return {
    version: metadata.name,
    ...(spec.packageDigest === "" ? {} : { packageDigest: spec.packageDigest }),
    switchedAt: rfc3339(now),
  };
}

function resolveAlias({ spec, metadata }: FunctionAlias, versions: readonly FunctionVersion[]): Resolved {
  const named = (name: string | undefined) => versions.find((version) => version.metadata.name === name);
  const secondary = named(spec.secondaryVersion);
  const primary = spec.packageDigest ? versionOfDigest(versions, spec.packageDigest) : named(spec.version);
  const refused = (reason: string, message: string): Resolved => ({
    primary,
    secondary,
    condition: { type: "Resolved", status: "False", reason, message },
  });
  const notFound = (field: string, name: string): Resolved =>
    refused(
      "VersionNotFound",
      `Version "${name}" (spec.${field}) of function "${spec.functionName}" not found in namespace "${metadata.namespace ?? "default"}": ${existing(versions)}`,
    );
  if (!primary) {
    if (spec.packageDigest)
      return refused(
        "DigestUnmatched",
        `No version of function "${spec.functionName}" has archive "${spec.packageDigest}" (spec.packageDigest): ${existing(versions)}`,
      );
    if (spec.version) return notFound("version", spec.version);
    return refused("NoVersion", "The alias names no version: set spec.version or spec.packageDigest");
  }
  if (spec.secondaryVersion && !secondary) return notFound("secondaryVersion", spec.secondaryVersion);
  return { primary, secondary, condition: resolvedCondition(spec, primary, secondary) };
}

function resolvedCondition(
  { weight = 100 }: FunctionAlias["spec"],
  primary: FunctionVersion,
  secondary: FunctionVersion | undefined,
): ConditionUpdate {
  const message = secondary
    ? `${weight} % of the requests go to version "${primary.metadata.name}", ${100 - weight} % to "${secondary.metadata.name}"`
    : `All requests go to version "${primary.metadata.name}"`;
  return { type: "Resolved", status: "True", reason: "Resolved", message };
}

const SHOWN = 5;

function existing(versions: readonly FunctionVersion[]): string {
  const names = versions
    .toSorted((a, b) => b.spec.sequence - a.spec.sequence)
    .map(({ metadata }) => metadata.name);
  if (names.length === 0) return "it has none; publish one with isotope fn publish";
  return `there are ${names.slice(0, SHOWN).join(", ")}${names.length > SHOWN ? " and older ones" : ""}`;
}

function readyCondition({ primary, secondary, condition }: Resolved): ConditionUpdate {
  if (condition.status === "False") return { ...condition, type: "Ready" };
  for (const version of [primary, secondary]) {
    if (!version || version.status?.serving) continue;
    const why = findCondition(version.status?.conditions, "Ready")?.message ?? "it is being resolved";
    return {
      type: "Ready",
      status: "False",
      reason: "VersionNotReady",
      message: `Version "${version.metadata.name}" cannot serve yet: ${why}`,
    };
  }
  return { ...condition, type: "Ready", reason: "Serving" };
}

function driftCondition({ primary, secondary }: Resolved): ConditionUpdate {
  for (const version of [primary, secondary]) {
    const drift = findCondition(version?.status?.conditions, "EnvDrift");
    if (drift?.status !== "True") continue;
    const message = `Version "${version?.metadata.name ?? ""}": ${drift.message}`;
    return { type: "EnvDrift", status: "True", reason: drift.reason, message };
  }
  const message = "The environment is as it was when the versions were published";
  return { type: "EnvDrift", status: "False", reason: "InStep", message };
}
