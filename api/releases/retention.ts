import type {
  Function as FunctionObject,
  FunctionAlias,
  FunctionVersion,
  ObjectMeta,
} from "../kinds/index.ts";
import { ANNOTATION_HOLD_PREFIX } from "../names.ts";

/** How many versions of a function stay when it does not say. */
export const DEFAULT_RETAINED_VERSIONS = 10;

/** An object of any kind that may name a version: triggers by `functionref`, canaries by their two sides. */
export interface ReferringObject {
  readonly kind?: string | undefined;
  readonly metadata: Pick<ObjectMeta, "name">;
  readonly spec?:
    | {
        readonly functionref?: { readonly version?: string | undefined } | undefined;
        readonly newfunction?: string | undefined;
        readonly oldfunction?: string | undefined;
      }
    | undefined;
  /** What a canary found its sides to be. */
  readonly status?:
    | {
        readonly new?: { readonly name?: string | undefined } | undefined;
        readonly old?: { readonly name?: string | undefined } | undefined;
      }
    | undefined;
}

/** Everything in one namespace that may need a version. */
export interface VersionReferrers {
  /** Only what aliases and canaries name themselves counts, not what they could go back to. */
  readonly withoutHistory?: boolean;
  readonly aliases: readonly Pick<FunctionAlias, "metadata" | "spec" | "status">[];
  readonly functions: readonly Pick<FunctionObject, "metadata" | "spec">[];
  /** The versions in question: they carry holds of their own. */
  readonly versions: readonly Pick<FunctionVersion, "metadata">[];
  /** Triggers of all kinds, and canaries. */
  readonly others: readonly ReferringObject[];
}

/** Name of a version → who needs it, in words (`FunctionAlias "prod"`). */
export type VersionUses = ReadonlyMap<string, readonly string[]>;

/** Who needs which version, by everything that names one. Pure. */
export function versionUses(referrers: VersionReferrers): VersionUses {
  const { aliases, functions, versions, others } = referrers;
  const uses = new Map<string, string[]>();
  const add = (version: string | undefined, who: string): void => {
    if (!version) return;
    const known = uses.get(version);
    if (!known) uses.set(version, [who]);
    else if (!known.includes(who)) known.push(who);
  };
  for (const { metadata, spec, status } of aliases) {
    const who = `FunctionAlias "${metadata.name}"`;
    for (const version of [spec.version, spec.secondaryVersion, status?.resolvedVersion]) add(version, who);
    for (const { version } of referrers.withoutHistory ? [] : (status?.history ?? []))
      add(version, `the history of ${who}`);
  }
  for (const { metadata, spec } of functions) {
    for (const destination of [spec.invocation?.onSuccess, spec.invocation?.onFailure])
      add(destination?.function?.version, `Function "${metadata.name}"`);
  }
  for (const { metadata } of versions) {
    for (const [name, reason] of Object.entries(metadata.annotations ?? {})) {
      if (!name.startsWith(ANNOTATION_HOLD_PREFIX)) continue;
      const holder = name.slice(ANNOTATION_HOLD_PREFIX.length);
      add(metadata.name, reason === "" ? `"${holder}"` : `"${holder}" (${reason})`);
    }
  }
  for (const { kind, metadata, spec, status } of others) {
    const who = `${kind ?? "trigger"} "${metadata.name}"`;
    for (const version of [spec?.functionref?.version, spec?.newfunction, spec?.oldfunction])
      add(version, who);
    for (const side of referrers.withoutHistory ? [] : [status?.new, status?.old]) add(side?.name, who);
  }
  return uses;
}

/**
 * The versions of one function that go when the `keep` newest are to stay: older ones that nobody needs. Versions that are being deleted
 * already neither count nor come back. Oldest first. Pure.
 */
export function versionsToRemove(
  versions: readonly FunctionVersion[],
  uses: VersionUses,
  keep: number,
): FunctionVersion[] {
  return versions
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .toSorted((a, b) => b.spec.sequence - a.spec.sequence)
    .slice(Math.max(1, keep))
    .filter(({ metadata }) => !uses.has(metadata.name))
    .toReversed();
}
