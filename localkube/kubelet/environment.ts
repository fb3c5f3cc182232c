import { availableParallelism, totalmem } from "node:os";
import { expandReferences } from "./expand-references.ts";
import { type PodPlace, readFieldPath } from "./field-path.ts";
import type { ContainerSpec, EnvVar, KeyRef, Pod, ResourceFieldRef } from "./pod.ts";
import { parseQuantity } from "../schema/quantity.ts";

/** Decoded contents of the namespace's Secrets and ConfigMaps; undefined when there is no such object. */
export interface ConfigSources {
  secret(namespace: string, name: string): ReadonlyMap<string, Buffer> | undefined;
  configMap(namespace: string, name: string): ReadonlyMap<string, Buffer> | undefined;
}

/** Why a container cannot be made yet: something it names is missing. */
export class ConfigError extends Error {}

const VARIABLE_NAME = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;

/** The value of a container's resource field in units of its divisor, rounded up. */
export function readResourceField(pod: Pod, own: ContainerSpec, ref: ResourceFieldRef): string {
  const container =
    pod.spec.containers.find((candidate) => candidate.name === (ref.containerName ?? own.name)) ?? own;
  const [kind = "", resource = ""] = ref.resource.split(".");
  const { limits, requests } = container.resources ?? {};
  const stated = kind === "limits" ? limits?.[resource] : (requests?.[resource] ?? limits?.[resource]);
  const whole = resource === "cpu" ? availableParallelism() : resource === "memory" ? totalmem() : 0;
  const amount = (stated !== undefined ? parseQuantity(stated) : undefined) ?? whole;
  const divisor = parseQuantity(ref.divisor ?? 1) ?? 1;
  return String(Math.ceil(amount / (divisor === 0 ? 1 : divisor)));
}

function readKey(
  kind: "secret" | "configmap",
  ref: KeyRef,
  namespace: string,
  sources: ConfigSources,
): string | undefined {
  const name = ref.name ?? "";
  const data = kind === "secret" ? sources.secret(namespace, name) : sources.configMap(namespace, name);
  const value = data?.get(ref.key);
  if (value !== undefined || ref.optional === true) return value?.toString("utf8");
  if (!data) throw new ConfigError(`${kind} "${name}" not found`);
  throw new ConfigError(
    `couldn't find key ${ref.key} in ${kind === "secret" ? "Secret" : "ConfigMap"} ${namespace}/${name}`,
  );
}

function resolveVariable(
  variable: EnvVar,
  known: Readonly<Record<string, string>>,
  context: { pod: Pod; place: PodPlace; container: ContainerSpec; sources: ConfigSources },
): string | undefined {
  const { pod, place, container, sources } = context;
  const from = variable.valueFrom;
  const namespace = pod.metadata.namespace ?? "default";
  if (!from) return expandReferences(variable.value ?? "", known);
  if (from.secretKeyRef) return readKey("secret", from.secretKeyRef, namespace, sources);
  if (from.configMapKeyRef) return readKey("configmap", from.configMapKeyRef, namespace, sources);
  if (from.resourceFieldRef) return readResourceField(pod, container, from.resourceFieldRef);
  const path = from.fieldRef?.fieldPath ?? "";
  const value = readFieldPath(pod, place, path);
  if (value === undefined)
    throw new ConfigError(`environment variable ${variable.name}: field path "${path}" is not known`);
  return value;
}

/**
 * The container's variables (envFrom, then env, later ones winning) over `base`.
 * Throws ConfigError when a Secret, a ConfigMap or a key that is not optional is missing.
 */
export function resolveEnvironment(
  pod: Pod,
  place: PodPlace,
  container: ContainerSpec,
  sources: ConfigSources,
  base: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = { ...base };
  const namespace = pod.metadata.namespace ?? "default";
  for (const source of container.envFrom ?? []) {
    const ref = source.secretRef ?? source.configMapRef;
    const name = ref?.name ?? "";
    const data = source.secretRef ? sources.secret(namespace, name) : sources.configMap(namespace, name);
    if (!data && ref?.optional !== true) {
      throw new ConfigError(`${source.secretRef ? "secret" : "configmap"} "${name}" not found`);
    }
    for (const [key, value] of data ?? []) {
      const variable = `${source.prefix ?? ""}${key}`;
      if (VARIABLE_NAME.test(variable)) env[variable] = value.toString("utf8");
    }
  }
  for (const variable of container.env ?? []) {
    const value = resolveVariable(variable, env, { pod, place, container, sources });
    if (value !== undefined) env[variable.name] = value;
  }
  return env;
}
