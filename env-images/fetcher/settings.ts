import { parseArgs } from "node:util";

/** What a fetcher's process is told at its start. */
export interface FetcherSettings {
  readonly host: string;
  readonly port: number;
  /** `runtime`: beside a runtime container; `builder`: beside a builder container. */
  readonly mode: "runtime" | "builder";
  /** Where the runtime or the builder listens, an IP address and a port. */
  readonly neighbour: { readonly host: string; readonly port: number };
  /** Folders shared with it. */
  readonly userfunc: string;
  readonly secrets: string;
  readonly configs: string;
  readonly packages: string;
  readonly envVersion: 1 | 2 | 3;
  /** Zip archives are handed over as they are. */
  readonly keepArchive: boolean;
  /** The runtime takes any number of functions. */
  readonly shared: boolean;
  readonly podUid: string;
  readonly token: string;
}

const MODES = ["runtime", "builder"] as const;
const VERSIONS = [1, 2, 3] as const;
const NEIGHBOUR_PORT = { runtime: 8888, builder: 8001 } as const;

/** The same names as `POD_ENV` in `api/wire/pod.ts`. */
const ENV = { token: "ISOTOPE_POD_TOKEN", podUid: "ISOTOPE_POD_UID" } as const;

export const FETCHER_HELP = `isotope fetcher: gives the container beside it code, secrets and config maps, and minds its requests
  --host <address>        address to listen on (default 0.0.0.0)
  --port <port>           default 8000
  --mode <mode>           runtime (default) or builder
  --neighbour-host <ip>   where the runtime or builder listens (default 127.0.0.1), on port 8888 or 8001
  --userfunc, --secrets, --configs, --packages <folder>
                          folders shared with it (default /userfunc, /secrets, /configs, /packages)
  --env-version <1|2|3>   version of the environment contract (default 3)
  --keep-archive          zip archives are handed over as they are
  --shared                the runtime takes any number of functions (allowedFunctionsPerContainer: infinite)
${ENV.token}, ${ENV.podUid}: the pod's token and UID, required
`;

const OPTIONS = {
  host: { type: "string", default: "0.0.0.0" },
  port: { type: "string", default: "8000" },
  mode: { type: "string", default: "runtime" },
  "neighbour-host": { type: "string", default: "127.0.0.1" },
  userfunc: { type: "string", default: "/userfunc" },
  secrets: { type: "string", default: "/secrets" },
  configs: { type: "string", default: "/configs" },
  packages: { type: "string", default: "/packages" },
  "env-version": { type: "string", default: "3" },
  "keep-archive": { type: "boolean", default: false },
  shared: { type: "boolean", default: false },
} as const;

/** Reads flags and environment. Throws an Error that names the flag, the value and what is allowed. */
export function fetcherSettings(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): FetcherSettings {
  const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true });
  const mode = oneOf("--mode", values.mode, MODES, values.mode);
  const envVersion = oneOf("--env-version", Number(values["env-version"]), VERSIONS, values["env-version"]);
  const token = env[ENV.token] ?? "";
  const podUid = env[ENV.podUid] ?? "";
  if (token === "" || podUid === "")
    throw new Error(`Cannot start the fetcher: ${token === "" ? ENV.token : ENV.podUid} must not be empty`);
  return {
    host: values.host,
    port: portOf("--port", values.port),
    mode,
    neighbour: { host: values["neighbour-host"], port: NEIGHBOUR_PORT[mode] },
    userfunc: values.userfunc,
    secrets: values.secrets,
    configs: values.configs,
    packages: values.packages,
    envVersion,
    keepArchive: values["keep-archive"],
    shared: values.shared,
    podUid,
    token,
  };
}

function oneOf<T>(flag: string, value: unknown, allowed: readonly T[], given: string): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined)
    throw new Error(`Cannot start the fetcher: ${flag} must be ${allowed.join(", ")}, got "${given}"`);
  return found;
}

function portOf(flag: string, text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535)
    throw new Error(`Cannot start the fetcher: ${flag} must be 0..65535, got "${text}"`);
  return port;
}
