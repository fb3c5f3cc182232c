import { canonicalJson } from "../canonical-json.ts";
import type {
  Environment,
  Function as FunctionObject,
  FunctionSpec,
  FunctionVersion,
} from "../kinds/index.ts";
import {
  ANNOTATION_DESCRIPTION,
  API_GROUP_VERSION,
  FINALIZER_VERSION_IN_USE,
  LABEL_FUNCTION_NAME,
  LABEL_FUNCTION_UID,
} from "../names.ts";

/** What a version says beside what its function does. */
export interface PublishFacts {
  /** The function's environment, when it has one. */
  readonly environment?: Environment | undefined;
  readonly description?: string | undefined;
}

export type PublishPlan =
  /** The newest version is what the function serves. */
  | { readonly kind: "published"; readonly version: FunctionVersion }
  | { readonly kind: "create"; readonly version: FunctionVersion };

/** Why a function cannot be published as it is, or undefined. */
export function publishProblem({ metadata, status }: FunctionObject): string | undefined {
  if (metadata.deletionTimestamp) return "it is being deleted";
  const serving = status?.serving;
  const generation = metadata.generation ?? 0;
  if (serving?.generation === generation) return undefined;
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  const why =
    ready?.status === "False" && ready.observedGeneration === generation ? `: ${ready.message}` : "";
  return serving
    ? `its newest state (generation ${generation}) does not serve yet${why}`
    : `it does not serve yet${why}`;
}

/**
 * What publishing a function means: the newest version, if that is what it serves already, else a new one.
 * `versions` are those of the function's name in its namespace, of whatever UID.
 */
export function planPublish(
  fn: FunctionObject,
  versions: readonly FunctionVersion[],
  facts: PublishFacts,
  now: Date,
): PublishPlan {
  const own = versions.filter(({ spec }) => spec.functionName === fn.metadata.name);
  const sequence = Math.max(0, ...own.map(({ spec }) => spec.sequence)) + 1;
  const version = versionOf(fn, facts, sequence, now);
  const newest = own
    .filter(({ metadata, spec }) => !metadata.deletionTimestamp && spec.functionUID === fn.metadata.uid)
    .toSorted((a, b) => b.spec.sequence - a.spec.sequence)[0];
  return newest && contentOf(newest) === contentOf(version)
    ? { kind: "published", version: newest }
    : { kind: "create", version };
}

/** The newest of its versions that is what the function serves now; undefined when that was not published. */
export function versionServed(
  fn: FunctionObject,
  versions: readonly FunctionVersion[],
): FunctionVersion | undefined {
  const { serving } = fn.status ?? {};
  if (publishProblem(fn) !== undefined || !serving) return undefined;
  const candidates = versions.filter(
    ({ metadata, spec }) =>
      !metadata.deletionTimestamp &&
      spec.functionUID === fn.metadata.uid &&
      spec.packageDigest === (serving.package.digest === "" ? "" : `sha256:${serving.package.digest}`),
  );
  if (candidates.length === 0) return undefined;
  const content = contentOf(versionOf(fn, { environment: undefined }, 0, new Date(0)));
  return candidates
    .toSorted((a, b) => b.spec.sequence - a.spec.sequence)
    .find((version) => contentOf(version) === content);
}

/**
 * The FunctionVersion of what a function serves now.
 * @throws {TypeError} when its newest state does not serve yet (see `publishProblem`)
 */
export function versionOf(
  fn: FunctionObject,
  { environment, description }: PublishFacts,
  sequence: number,
  now: Date,
): FunctionVersion {
  const { name, namespace, uid = "" } = fn.metadata;
  const serving = fn.status?.serving;
  const problem = publishProblem(fn);
  if (problem !== undefined || !serving)
    throw new TypeError(`Cannot publish function "${name}": ${problem ?? "it does not serve yet"}`);
  const { image } = serving.environment;
  const observed = environment?.spec.runtime.image === image ? environment.metadata.generation : undefined;
  return {
    apiVersion: API_GROUP_VERSION,
    kind: "FunctionVersion",
    metadata: {
      name: versionName(name, sequence),
      ...(namespace === undefined ? {} : { namespace }),
      labels: { [LABEL_FUNCTION_NAME]: name, [LABEL_FUNCTION_UID]: uid },
      ...(description ? { annotations: { [ANNOTATION_DESCRIPTION]: description } } : {}),
      finalizers: [FINALIZER_VERSION_IN_USE],
      ownerReferences: [{ apiVersion: API_GROUP_VERSION, kind: "Function", name, uid }],
    },
    spec: {
      functionName: name,
      functionUID: uid,
      functionGeneration: serving.generation,
      sequence,
      snapshot: fn.spec,
      packageDigest: serving.package.digest === "" ? "" : `sha256:${serving.package.digest}`,
      ...(observed === undefined ? {} : { envObservedGeneration: observed }),
      ...(image === "" ? {} : { envRuntimeImage: image }),
      publishedAt: `${now.toISOString().slice(0, 19)}Z`,
    },
  };
}

export const versionName = (functionName: string, sequence: number): string => `${functionName}-v${sequence}`;

/** What makes a version another one than the one before: how it behaves, not the rules by which it is published. */
function contentOf({ spec }: FunctionVersion): string {
  const { packageDigest, envRuntimeImage } = spec;
  return canonicalJson({ packageDigest, envRuntimeImage, snapshot: behaviourOf(spec.snapshot) });
}

function behaviourOf({ versioning: _versioning, package: pkg, ...spec }: FunctionSpec): unknown {
  const { resourceversion: _resourceversion, ...packageref } = pkg.packageref ?? {};
  return { ...spec, package: { ...pkg, packageref } };
}
