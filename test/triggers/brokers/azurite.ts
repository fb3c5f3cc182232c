import { execFile } from "node:child_process";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePortBase } from "../../e2e/free-ports.ts";
import { type BrokerProcess, brokerFolder, brokerProcess } from "./broker-process.ts";
import { fetchedFolder, fetchOnce } from "./fetched-folder.ts";

const NAME = "azurite-3.37.0";
/** The account and key that Azurite is published with. */
const ACCOUNT = "devstoreaccount1";
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const PROGRAM = join(fetchedFolder(NAME), "node_modules", "azurite", "dist", "src", "queue", "main.js");

/** Why there is no Azurite on this machine, or undefined: it is installed where CI=true, for 250 MB of packages. */
export const azuriteObstacle = (): string | undefined =>
  existsSync(PROGRAM) || process.env["CI"] === "true"
    ? undefined
    : `Azurite is not installed (with CI=true it is)`;

export async function startAzurite(): Promise<BrokerProcess & { readonly connectionString: string }> {
  await install();
  const port = await freePortBase();
  const folder = brokerFolder("azurite");
  const broker = brokerProcess({
    name: "Azurite",
    folder,
    port,
    command: process.execPath,
    args: [
      PROGRAM,
      "--queueHost",
      "127.0.0.1",
      "--queuePort",
      String(port),
      "--location",
      folder,
      "--silent",
      "--disableTelemetry",
    ],
  });
  await broker.start();
  const endpoint = `http://127.0.0.1:${port}/${ACCOUNT}`;
  const connectionString = `DefaultEndpointsProtocol=http;AccountName=${ACCOUNT};AccountKey=${KEY};QueueEndpoint=${endpoint};`;
  return { ...broker, connectionString };
}

/** As its lock file says, which names the digest of every package. */
const install = (): Promise<string> =>
  fetchOnce(NAME, async (folder) => {
    for (const file of ["package.json", "package-lock.json"])
      copyFileSync(join(import.meta.dirname, "azurite", file), join(folder, file));
    await promisify(execFile)("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: folder });
  });
