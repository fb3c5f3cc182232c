import type { FunctionAlias, Function as FunctionObject, FunctionVersion } from "../api/kinds/index.ts";
import type { KubeClient } from "./client.ts";
import { createInformer, type Informer } from "./informer.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "./kinds.ts";
import type { KubeObject } from "./object.ts";

/** Local copies of what functions, versions and aliases are: starting a run asks the API server nothing. */
export interface FunctionWorld {
  function(namespace: string, name: string): FunctionObject | undefined;
  alias(namespace: string, name: string): FunctionAlias | undefined;
  version(namespace: string, name: string): FunctionVersion | undefined;
  /** Of a function's name, of whatever UID. */
  versionsOf(namespace: string, functionName: string): readonly FunctionVersion[];
  allVersions(): readonly FunctionVersion[];
  aliasesOf(namespace: string, functionName: string): readonly FunctionAlias[];
  start(): void;
  readonly synced: Promise<unknown>;
  isSynced(): boolean;
  stop(): Promise<void>;
}

const BY_FUNCTION = "function";

export function watchFunctionWorld(
  client: KubeClient,
  onError: (kind: string, error: unknown, failures: number) => void,
): FunctionWorld {
  const functions = createInformer<FunctionObject>({
    client,
    type: FUNCTIONS,
    transform: slim,
    onError: (error, failures) => onError("Function", error, failures),
  });
  const versions = createInformer<FunctionVersion>({
    client,
    type: FUNCTION_VERSIONS,
    transform: slim,
    indexes: {
      [BY_FUNCTION]: ({ metadata, spec }) => [`${metadata.namespace ?? "default"}/${spec.functionName}`],
    },
    onError: (error, failures) => onError("FunctionVersion", error, failures),
  });
  const aliases = createInformer<FunctionAlias>({
    client,
    type: FUNCTION_ALIASES,
    transform: slim,
    indexes: {
      [BY_FUNCTION]: ({ metadata, spec }) => [`${metadata.namespace ?? "default"}/${spec.functionName}`],
    },
    onError: (error, failures) => onError("FunctionAlias", error, failures),
  });
  const all: readonly Pick<Informer<KubeObject>, "start" | "stop" | "synced" | "hasSynced">[] = [
    functions,
    versions,
    aliases,
  ];
  return {
    function: (namespace, name) => functions.get(`${namespace}/${name}`),
    alias: (namespace, name) => aliases.get(`${namespace}/${name}`),
    version: (namespace, name) => versions.get(`${namespace}/${name}`),
    versionsOf: (namespace, name) => versions.byIndex(BY_FUNCTION, `${namespace}/${name}`),
    allVersions: () => versions.list(),
    aliasesOf: (namespace, name) => aliases.byIndex(BY_FUNCTION, `${namespace}/${name}`),
    start: () => all.forEach((informer) => informer.start()),
    synced: Promise.all(all.map((informer) => informer.synced)),
    isSynced: () => all.every((informer) => informer.hasSynced()),
    stop: async () => {
      await Promise.all(all.map((informer) => informer.stop()));
    },
  };
}

function slim<T extends KubeObject>(object: T): T {
  if (!("managedFields" in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
