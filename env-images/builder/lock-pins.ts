import { z } from "zod";
import { BuildError } from "./build-error.ts";
import { type Project, parseAs } from "./project.ts";

/** Exact versions that a lockfile other than npm's own gives. */
export interface LockPins {
  /** `name@range` of a direct dependency or `npm:` import → version. */
  readonly versions: ReadonlyMap<string, string>;
  /** npm `overrides` that hold all further packages at their versions. */
  readonly overrides: unknown;
}

const NpmPackages = z.record(
  z.string(),
  z.looseObject({
    dependencies: z.union([z.array(z.string()), z.record(z.string(), z.string())]).optional(),
  }),
);
const DenoLock = z.looseObject({
  version: z.string().optional(),
  specifiers: z.record(z.string(), z.string()).optional(),
  npm: NpmPackages.optional(),
  // Version 3 had both one level deeper.
  packages: z
    .looseObject({ specifiers: z.record(z.string(), z.string()).optional(), npm: NpmPackages.optional() })
    .optional(),
});

/** Lockfiles that we cannot follow. A lockfile that is silently ignored would be worse than none. */
const UNSUPPORTED = ["pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"];

/** The versions of `deno.lock`. Throws `BuildError` for lockfiles of other package managers. */
export function pinnedVersions(project: Project): LockPins | undefined {
  if (project.denoLock !== undefined) return pinsOfDenoLock(project.denoLock);
  const other = project.packageJson && UNSUPPORTED.find((name) => project.top.includes(name));
  if (other === undefined) return undefined;
  throw new BuildError(
    "user",
    `Cannot follow "${other}": make a package-lock.json beside it (npm install --package-lock-only), or leave it out of the source`,
  );
}

/** `zod@4.1.0`, `@scope/x@1.0.0_peer@2.0.0` → name and version. */
function splitKey(key: string): { name: string; version: string } | undefined {
  const match = /^((?:@[^/]+\/)?[^@]+)@([^_]+)/.exec(key);
  return match?.[1] !== undefined && match[2] !== undefined
    ? { name: match[1], version: match[2] }
    : undefined;
}

export function pinsOfDenoLock(text: string): LockPins {
  const lock = parseAs(DenoLock, "deno.lock", text, false);
  const versions = new Map<string, string>();
  for (const [specifier, resolved] of Object.entries({ ...lock.packages?.specifiers, ...lock.specifiers })) {
    if (!specifier.startsWith("npm:")) continue;
    const asked = /^npm:((?:@[^/]+\/)?[^@]+)(?:@(.*))?$/.exec(specifier);
    // Version 3 repeats the name ("npm:zod@4.1.0"); from 4 on it is the version alone, perhaps with peers ("19.0.0_react@19.0.0").
    const version = splitKey(resolved.replace(/^npm:/, ""))?.version ?? resolved.split("_")[0];
    if (asked?.[1] !== undefined && version !== undefined) {
      const range = asked[2] ?? "*";
      versions.set(`${asked[1]}@${range}`, version);
      if (range === "*") versions.set(`${asked[1]}@`, version);
    }
  }
  return { versions, overrides: overridesOf({ ...lock.packages?.npm, ...lock.npm }) };
}

/** Packages of one version are held everywhere; of several, below each package that depends on them. */
function overridesOf(packages: z.infer<typeof NpmPackages>): unknown {
  const versionsOf = new Map<string, Set<string>>();
  for (const key of Object.keys(packages)) {
    const entry = splitKey(key);
    if (entry) versionsOf.set(entry.name, (versionsOf.get(entry.name) ?? new Set()).add(entry.version));
  }
  const overrides: Record<string, unknown> = {};
  for (const [key, { dependencies }] of Object.entries(packages)) {
    const entry = splitKey(key);
    const list = Array.isArray(dependencies) ? dependencies : Object.values(dependencies ?? {});
    const pinned: Record<string, string> = {};
    for (const dependency of list) {
      const named = splitKey(dependency);
      const name = named?.name ?? dependency;
      const [only] = versionsOf.get(name) ?? [];
      const version = named?.version ?? only;
      if (version !== undefined) pinned[name] = version;
    }
    if (entry && Object.keys(pinned).length > 0) overrides[`${entry.name}@${entry.version}`] = pinned;
  }
  return Object.keys(overrides).length > 0 ? overrides : undefined;
}
