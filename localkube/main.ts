import { flushCompileCache } from "node:module";
import { parseArgs } from "node:util";
import { controllersPart } from "./controllers/controllers-part.ts";
import { SERVER_VERSION } from "./discovery/discovery.ts";
import { kubeletPart } from "./kubelet/kubelet-part.ts";
import { DEFAULT_NAMESPACES, startLocalkube } from "./server.ts";

const USAGE = `usage: node localkube/main.ts --data-dir DIR --port PORT
  [--host 127.0.0.1] [--kubeconfig-out FILE] [--crd-dir DIR]... [--namespace NAME]...
  [--images FILE] [--pod-cidr RANGE|none] [--node-name local] [--parent-pid PID] [--api-only]`;

const OPTIONS = {
  "data-dir": { type: "string" },
  port: { type: "string" },
  host: { type: "string", default: "127.0.0.1" },
  "kubeconfig-out": { type: "string" },
  "crd-dir": { type: "string", multiple: true },
  namespace: { type: "string", multiple: true },
  images: { type: "string" },
  "pod-cidr": { type: "string" },
  "node-name": { type: "string", default: "local" },
  "parent-pid": { type: "string" },
  "api-only": { type: "boolean", default: false },
} as const;

function fail(message: string): never {
  process.stderr.write(`localkube: ${message}\n${USAGE}\n`);
  process.exit(2);
}

function wholeNumber(name: string, text: string | undefined, least: number, most: number): number {
  const value = Number(text);
  if (text === undefined || !/^\d+$/.test(text) || value < least || value > most) {
    fail(`--${name} must be ${least}..${most}, got ${JSON.stringify(text ?? null)}`);
  }
  return value;
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS, strict: true }).values;
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

async function main(): Promise<void> {
  const values = readArguments();
  const dataDir = values["data-dir"] ?? fail("--data-dir is missing");
  const port = wholeNumber("port", values.port, 0, 65535);
  const parent = values["parent-pid"];
  const nodeName = values["node-name"];
  const parts = values["api-only"]
    ? []
    : [
        kubeletPart({
          nodeName,
          stateDir: dataDir,
          imagesFile: values.images,
          podCidr: values["pod-cidr"],
          parentPid: parent === undefined ? undefined : wholeNumber("parent-pid", parent, 1, 2 ** 31 - 1),
        }),
        controllersPart({ nodeName, version: SERVER_VERSION.gitVersion }),
      ];
  const localkube = await startLocalkube({
    dataDir,
    port,
    host: values.host,
    ...(values["kubeconfig-out"] ? { kubeconfigOut: values["kubeconfig-out"] } : {}),
    crdDirs: values["crd-dir"] ?? [],
    namespaces: [...new Set([...DEFAULT_NAMESPACES, "fission", ...(values.namespace ?? [])])],
    parts,
  });
  flushCompileCache();
  process.stdout.write(`localkube is ready at ${localkube.url}\n`);
  let ending = false;
  const end = (): void => {
    if (ending) return;
    ending = true;
    localkube.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`localkube: stopping failed: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
}

main().catch((error: unknown) => {
  process.stderr.write(`localkube: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
