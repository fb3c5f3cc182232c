import { join } from "node:path";
import { FETCHER_IMAGE } from "../api/direct-image.ts";
import { denoFlags, loopbackPorts, METADATA_ADDRESSES } from "../env-images/deno/flags.ts";
import type { Ports } from "./ports.ts";

/** Names of the platform's own images; local mode runs any tag of them. */
export const DENO_IMAGE = "isotope/deno-env";
export const BUILDER_IMAGE = "isotope/builder";

/** Images that local mode runs as processes: the content of localkube's `--images` file. */
export interface ImageTable {
  images: { match: string; command: string[]; env: Record<string, string>; containerCommand?: "append" }[];
}

export interface Programs {
  /** Folder of the platform's code. */
  root: string;
  /** `.ts` in the repository, `.js` in the installed package. */
  extension: string;
  deno: string;
  node: string;
  /** Compiled code of the runtime, shared by all pods. */
  denoDir: string;
  /** Packages and npm's cache, kept over builder pods. */
  builderState: string;
  /** The environment that package managers need: proxies, registry settings. */
  buildEnv: Record<string, string>;
}

const HEAP_MB = 256;

/** Functions may reach what the user runs on this machine, but none of the platform's own ports save their Redis. */
const platformAddresses = (ports: Ports): string[] =>
  loopbackPorts(
    Object.entries(ports)
      .filter(([name]) => name !== "redis")
      .map(([, port]) => port),
  );

/** A function that listens on these would offer itself to the whole network of the laptop; as targets they are other names of loopback. */
const EVERY_INTERFACE = ["0.0.0.0", "[::]"];

/** The image table of local mode. */
export function imageTable(programs: Programs, ports: Ports): ImageTable {
  const denoRuntime = join(programs.root, "env-images", "deno");
  const runtimeArguments = [
    join(denoRuntime, `main.${programs.extension}`),
    "--host",
    "${POD_IP}",
    "--port",
    "${PORT}",
    "--root",
    "${ROOT}",
  ];
  const denyNet = [...METADATA_ADDRESSES, ...EVERY_INTERFACE, ...platformAddresses(ports), "${OTHER_PODS}"];
  return {
    images: [
      {
        match: `${DENO_IMAGE}:*`,
        command: [programs.deno, ...denoFlags({ root: "${ROOT}", denyNet }), ...runtimeArguments],
        env: {
          // A pod whose container has a memory limit says another one.
          DENO_V8_FLAGS: `--max-old-space-size=${HEAP_MB}`,
          DENO_DIR: programs.denoDir,
          DENO_NO_UPDATE_CHECK: "1",
          NO_COLOR: "1",
        },
      },
      {
        match: `${BUILDER_IMAGE}:*`,
        command: [
          programs.node,
          "--disable-warning=ExperimentalWarning",
          join(programs.root, "env-images", "builder", `main.${programs.extension}`),
          "--host",
          "${POD_IP}",
          "--port",
          "${PORT}",
          "--state",
          programs.builderState,
        ],
        env: programs.buildEnv,
      },
      fetcherRule(programs.node, join(programs.root, "env-images", "fetcher", `main.${programs.extension}`)),
    ],
  };
}

/**
 * The fetcher beside a runtime or builder: it finds its neighbour at the pod's address, and the folders they share below the pod's root. The
 * container's own arguments say what the pod is for.
 */
export function fetcherRule(node: string, main: string): ImageTable["images"][number] {
  const folders = ["userfunc", "secrets", "configs", "packages"].flatMap((name) => [
    `--${name}`,
    `\${ROOT}/${name}`,
  ]);
  return {
    match: `${FETCHER_IMAGE}:*`,
    command: [
      node,
      "--disable-warning=ExperimentalWarning",
      main,
      "--host",
      "${POD_IP}",
      "--port",
      "${PORT}",
      "--neighbour-host",
      "${POD_IP}",
      ...folders,
    ],
    env: {},
    containerCommand: "append",
  };
}
