import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Condition } from "../../api/kinds/index.ts";
import { type Controller, type ControllerOptions, createController } from "../../controller/controller.ts";
import type { BuildInput, BuildOutcome } from "../../api/build.ts";
import type { Archives, PackageBuilder } from "../../controller/package/ports.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import type { KubeObject } from "../../kube/object.ts";
import { type Localkube, startLocalkube } from "../../localkube/server.ts";
import { processLog } from "../../net/log.ts";

const CRDS = fileURLToPath(new URL("../../charts/isotope/files/crds", import.meta.url));

/** A real API server in this process, on a folder that `stop` removes. */
export interface KubeServer {
  readonly dataDir: string;
  client: KubeClient;
  localkube: Localkube;
  /** Stops the server and starts it again on the same port and state. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startKube(): Promise<KubeServer> {
  const dataDir = mkdtempSync(join(tmpdir(), "isotope-controller-"));
  const open = (port: number) =>
    startLocalkube({
      dataDir,
      port,
      crdDirs: [CRDS],
      log: () => undefined,
      namespaces: ["default", "other"],
    });
  let localkube = await open(0);
  const port = Number(new URL(localkube.url).port);
  const client = await createKubeClient({ kubeconfig: localkube.kubeconfigPath });
  const server: KubeServer = {
    dataDir,
    client,
    localkube,
    restart: async () => {
      await localkube.stop();
      localkube = await open(port);
      server.localkube = localkube;
    },
    stop: async () => {
      await client.close();
      await localkube.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  return server;
}

/** The far side of storage: archives by digest, in memory. */
export class MemoryArchives implements Archives {
  readonly held = new Map<string, Buffer>();
  async put(content: AsyncIterable<Uint8Array>) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of content) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const digest = createHash("sha256").update(bytes).digest("hex");
    this.held.set(digest, bytes);
    return { archive: { digest, sizeBytes: bytes.length } };
  }
  find(digest: string) {
    const bytes = this.held.get(digest);
    return Promise.resolve(bytes ? { sizeBytes: bytes.length } : undefined);
  }
  open(digest: string) {
    const bytes = this.held.get(digest);
    return bytes
      ? Promise.resolve(Readable.from([bytes]))
      : Promise.reject(new Error(`no archive ${digest}`));
  }
}

/** The far side of builds: builder pods that answer as they are told. */
export class ScriptedBuilder implements PackageBuilder {
  readonly builds: BuildInput[] = [];
  answer: (input: BuildInput, hooks: Parameters<PackageBuilder["build"]>[1]) => Promise<BuildOutcome> = (
    input,
  ) => Promise.resolve(builtFrom(`built ${Buffer.from(input.source.bytes).toString("utf8")}`));
  build(input: BuildInput, hooks: Parameters<PackageBuilder["build"]>[1]): Promise<BuildOutcome> {
    this.builds.push(input);
    return this.answer(input, hooks);
  }
}

export function builtFrom(text: string): BuildOutcome {
  const artifact = Buffer.from(text);
  return { outcome: "succeeded", artifact, sha256: createHash("sha256").update(artifact).digest("hex") };
}

export const sha256 = (text: string | Uint8Array): string => createHash("sha256").update(text).digest("hex");

export interface RunningController {
  readonly controller: Controller;
  readonly archives: MemoryArchives;
  readonly builder: ScriptedBuilder;
  readonly log: string[];
}

export function runController(
  client: KubeClient,
  given: { archives?: MemoryArchives; builder?: ScriptedBuilder } & Partial<ControllerOptions> = {},
): RunningController {
  const archives = given.archives ?? new MemoryArchives();
  const builder = given.builder ?? new ScriptedBuilder();
  const log: string[] = [];
  const controller = createController({
    client,
    log: processLog("controller", { write: (line) => log.push(line) }),
    ...given,
    archives,
    builder,
  });
  controller.start();
  return { controller, archives, builder, log };
}

export interface Conditioned extends KubeObject {
  status?: { conditions?: Condition[] | undefined } | undefined;
}

export function condition(object: Conditioned | undefined, type: string): Condition | undefined {
  return object?.status?.conditions?.find((one) => one.type === type);
}
