import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { runCommand } from "../../../scripts/images/run-command.ts";
import { startDaemon, stopDaemons } from "../daemons.ts";
import { clusterLayout, NETWORK } from "../layout.ts";

const MODULE = "github.com/traefik/traefik/v3";
const VERSION = "v3.6.12";
const GATEWAY_MODULE = "sigs.k8s.io/gateway-api";
const NAME = "traefik";
/** Where it answers, in the node's network. */
export const TRAEFIK_URL = `http://${NETWORK.node}:80`;
/** A GatewayClass names its controller so. */
export const TRAEFIK_CONTROLLER = "traefik.io/gateway-controller";

const Downloaded = z.looseObject({ Dir: z.string(), GoMod: z.string() });
const Module = z.object({ Path: z.string(), Version: z.string().optional() });
const GoMod = z.looseObject({
  Go: z.string(),
  Require: z.array(z.looseObject({ Path: z.string(), Version: z.string() })),
  Replace: z
    .array(z.object({ Old: Module, New: Module }))
    .nullable()
    .default([]),
});
const nameOf = ({ Path, Version }: z.infer<typeof Module>): string => (Version ? `${Path} ${Version}` : Path);

interface BuiltTraefik {
  readonly program: string;
  /** Folder of the Gateway API's standard definitions, of the version that it was built with. */
  readonly gatewayDefinitions: string;
}

/**
 * Builds Traefik from the Go module proxy, once (some 5 to 10 minutes on 2 cores, and 2.5 GB of Go's build cache). Its own replacements
 * are taken over, without which it does not build.
 */
export async function buildTraefik(log: (line: string) => void): Promise<BuiltTraefik> {
  const folder = join(clusterLayout().cache, `traefik-${VERSION}`);
  const module = join(folder, "module");
  const program = join(folder, NAME);
  mkdirSync(module, { recursive: true });
  const env = { CGO_ENABLED: "0", GOFLAGS: "-mod=mod" };
  const go = (...args: string[]): Promise<string> => runCommand("go", args, { cwd: module, env });
  const download = async (path: string): Promise<z.infer<typeof Downloaded>> =>
    Downloaded.parse(JSON.parse(await go("mod", "download", "-json", path)));
  if (!existsSync(join(module, "go.mod")))
    writeFileSync(join(module, "go.mod"), "module isotope.dev/traefik\n");
  const downloaded = await download(`${MODULE}@${VERSION}`);
  const own = GoMod.parse(JSON.parse(await go("mod", "edit", "-json", downloaded.GoMod)));
  const gateway = own.Require.find(({ Path }) => Path === GATEWAY_MODULE);
  if (!gateway) throw new Error(`Cannot build Traefik: ${MODULE} does not require ${GATEWAY_MODULE}`);
  const definitions = await download(`${GATEWAY_MODULE}@${gateway.Version}`);
  if (!existsSync(program)) {
    log(`Building Traefik ${VERSION}, once`);
    const replaced = (own.Replace ?? []).map(({ Old, New }) => `replace ${nameOf(Old)} => ${nameOf(New)}`);
    writeFileSync(
      join(module, "go.mod"),
      ["module isotope.dev/traefik", `go ${own.Go}`, `require ${MODULE} ${VERSION}`, ...replaced, ""].join(
        "\n",
      ),
    );
    await go("build", "-trimpath", "-ldflags", "-s -w", "-o", `${program}.partial`, `${MODULE}/cmd/traefik`);
    renameSync(`${program}.partial`, program);
  }
  return { program, gatewayDefinitions: join(definitions.Dir, "config", "crd", "standard") };
}

/** Starts Traefik in the test cluster's node, for Ingresses and Gateways alike. */
export function startTraefik({ program }: BuiltTraefik): void {
  const { state, kubeconfig } = clusterLayout();
  startDaemon(state, {
    name: NAME,
    command: program,
    args: [
      `--entrypoints.web.address=${NETWORK.node}:80`,
      "--providers.kubernetesingress=true",
      `--providers.kubernetesingress.ingressendpoint.ip=${NETWORK.node}`,
      "--providers.kubernetesgateway=true",
      "--global.checknewversion=false",
      "--global.sendanonymoususage=false",
    ],
    env: { KUBECONFIG: kubeconfig },
  });
}

/** Stops it; the cluster lives on. */
export async function stopTraefik(): Promise<void> {
  const { state } = clusterLayout();
  await stopDaemons(state, [NAME]);
  for (const suffix of ["pid", "daemon.json"]) rmSync(join(state, `${NAME}.${suffix}`), { force: true });
}
