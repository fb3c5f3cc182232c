/** What the flags of a pod's process are made from. */
export interface DenoFlagOptions {
  /** The pod's own folder: readable; writable below `tmp` only once it is specialised. */
  readonly root: string;
  /** Further folders that the reference system's contract mounts: `/userfunc`, `/secrets`, `/configs`. Readable. */
  readonly contractDirs?: readonly string[];
  /** Those of them that are written when the pod is specialised, and never again. */
  readonly mountDirs?: readonly string[];
  /** What no function may reach: `address`, `address:port`, `[v6]:port` or CIDR. */
  readonly denyNet: readonly string[];
  /** Upper bound of the JavaScript heap; undefined = what the variable DENO_V8_FLAGS says. */
  readonly memoryMb?: number;
}

/** Instance metadata services, wherever a pod runs. */
export const METADATA_ADDRESSES: readonly string[] = ["169.254.0.0/16", "[fd00:ec2::254]", "100.100.100.200"];

/**
 * Arguments of `deno` up to the main module: what no function may have is denied from the start (files but its own, subprocesses,
 * native libraries, system information, remote code, the listed addresses).
 */
export function denoFlags(options: DenoFlagOptions): string[] {
  const { root, contractDirs = [], mountDirs = [], denyNet, memoryMb } = options;
  const readable = [root, ...contractDirs].join(",");
  return [
    "run",
    "--no-prompt",
    "--no-config",
    "--no-lock",
    "--cached-only",
    "--no-remote",
    "--no-npm",
    "--unstable-no-legacy-abort",
    `--allow-read=${readable}`,
    // `tmp` outlives the others, which the runtime gives up as soon as the code is in place.
    `--allow-write=${[root, `${root}/tmp`, ...mountDirs].join(",")}`,
    "--allow-env",
    "--allow-net",
    ...(denyNet.length === 0 ? [] : [`--deny-net=${denyNet.join(",")}`]),
    "--deny-run",
    "--deny-ffi",
    "--deny-sys",
    "--deny-import",
    // Without helper threads for the collector, and with a small nursery, a pod under load has half the memory and no slower replies.
    `--v8-flags=${memoryMb === undefined ? "" : `--max-old-space-size=${memoryMb},`}--single-threaded-gc,--max-semi-space-size=4`,
  ];
}

const IMAGE_ROOT = "/tmp/isotope";

/** The command of a pod on a cluster: what the image's Containerfile has as its entry. */
export const imageCommand = (): string[] => [
  "/usr/local/bin/deno",
  ...denoFlags({
    root: IMAGE_ROOT,
    contractDirs: ["/userfunc", "/secrets", "/configs"],
    mountDirs: ["/secrets", "/configs"],
    denyNet: METADATA_ADDRESSES,
  }),
  "/app/env-images/deno/main.js",
  "--host",
  "0.0.0.0",
  "--port",
  "8888",
  "--root",
  IMAGE_ROOT,
  "--userfunc",
  "/userfunc",
  "--secrets",
  "/secrets",
  "--configs",
  "/configs",
];

/** The ways to say a port of the platform on this machine, as entries for `denyNet`. */
export function loopbackPorts(ports: readonly number[]): string[] {
  // 0.0.0.0 and :: as targets mean the machine itself.
  return ports.flatMap((port) =>
    ["127.0.0.1", "[::1]", "0.0.0.0", "[::]", "localhost"].map((host) => `${host}:${port}`),
  );
}
