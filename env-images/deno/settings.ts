/** What a pod's process is told at its start. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  /** The pod's own folder, absolute. */
  readonly root: string;
  /** Where the reference system's contract puts code. */
  readonly userfunc: string;
  /** Where secrets and config maps become files, as `<namespace>/<name>/<key>`. */
  readonly secrets: string;
  readonly configs: string;
  readonly podUid: string;
  readonly podName: string;
  readonly namespace: string;
  /** Empty when nobody may specialise directly. */
  readonly token: string;
  /** How long running requests may take after SIGTERM. */
  readonly drainMs: number;
}

/** The same names as `POD_ENV` in `api/wire/pod.ts`. */
export const ENV_TOKEN = "ISOTOPE_POD_TOKEN";
export const ENV_POD_UID = "ISOTOPE_POD_UID";
export const ENV_POD_NAME = "ISOTOPE_POD_NAME";
export const ENV_POD_NAMESPACE = "ISOTOPE_POD_NAMESPACE";
export const ENV_DRAIN_MS = "ISOTOPE_DRAIN_MS";

const DEFAULT_DRAIN_MS = 25_000;

function flag(args: readonly string[], name: string): string | undefined {
  const at = args.indexOf(`--${name}`);
  return at === -1 ? undefined : args[at + 1];
}

function integer(name: string, text: string, lowest: number, highest: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < lowest || value > highest) {
    throw new RangeError(`Cannot start the pod: ${name} must be ${lowest}..${highest}, got "${text}"`);
  }
  return value;
}

/** The part of `Deno.env` that is needed. */
export interface ProcessEnvironment {
  toObject(): Record<string, string>;
  delete(name: string): void;
}

/** Reads the settings and empties the process environment, so that no function sees what it was. */
export function takeSettings(args: readonly string[], env: ProcessEnvironment): Settings {
  const given = env.toObject();
  for (const name of Object.keys(given)) env.delete(name);
  const root = (flag(args, "root") ?? "").replace(/\/+$/, "");
  if (!root.startsWith("/")) {
    throw new TypeError(
      `Cannot start the pod: --root must be an absolute path below /, got "${flag(args, "root") ?? ""}"`,
    );
  }
  return {
    host: flag(args, "host") ?? "0.0.0.0",
    port: integer("--port", flag(args, "port") ?? "8888", 0, 65_535),
    root,
    userfunc: flag(args, "userfunc") ?? `${root}/userfunc`,
    secrets: flag(args, "secrets") ?? `${root}/secrets`,
    configs: flag(args, "configs") ?? `${root}/configs`,
    podUid: given[ENV_POD_UID] ?? "",
    podName: given[ENV_POD_NAME] ?? "",
    namespace: given[ENV_POD_NAMESPACE] ?? "",
    token: given[ENV_TOKEN] ?? "",
    drainMs: integer(ENV_DRAIN_MS, given[ENV_DRAIN_MS] ?? String(DEFAULT_DRAIN_MS), 0, 3_600_000),
  };
}
