import { createHash, randomBytes, randomInt } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { BuildInput } from "../../api/build.ts";
import type { Environment } from "../../api/kinds/index.ts";
import { builderPods } from "../../engine/builder/builder-pods.ts";
import { kubeBuilderCluster } from "../../engine/builder/kube-builder-cluster.ts";
import { type PackageBuilder, packageBuilder } from "../../engine/builder/package-builder.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { type Pod, PODS } from "../../kube/core.ts";
import { ENVIRONMENTS } from "../../kube/kinds.ts";
import { controllersPart } from "../../localkube/controllers/controllers-part.ts";
import { kubeletPart } from "../../localkube/kubelet/kubelet-part.ts";
import { startLocalkube } from "../../localkube/server.ts";
import { fetcherRule } from "../../local/image-table.ts";
import { processLog } from "../../net/log.ts";
import { PYTHON } from "../env/python/python-runtime.ts";
import { procEntry } from "../proc-entry.ts";

/** A real API server and kubelet, real builder pods, and what drives them. */
export interface BuilderWorld {
  readonly client: KubeClient;
  readonly builder: PackageBuilder;
  /** A second one, as after a restart; with other settings if given. */
  another(settings?: { buildTimeoutMs?: number; idlePodMs?: number }): PackageBuilder;
  addEnvironment(name: string, image: string | undefined): Promise<Environment>;
  pods(): Promise<Pod[]>;
  /** Process ids of a builder pod, its server first. */
  processesOf(pod: Pod): number[];
  /** What the far side's npm does from now on: a shell script that runs in the folder to install into. */
  setNpm(script: string): void;
  readonly folder: string;
  stop(): Promise<void>;
}

const ROOT = resolve(import.meta.dirname, "../..");
const log = processLog("test", { write: () => undefined });

export async function builderWorld(): Promise<BuilderWorld> {
  const folder = mkdtempSync(join(tmpdir(), "isotope-builder-world-"));
  const npm = join(folder, "npm");
  const imagesFile = join(folder, "images.json");
  const main = join(ROOT, "env-images/builder/main.ts");
  const command = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    main,
    "--host",
    "${POD_IP}",
    "--port",
    "${PORT}",
    "--state",
    join(folder, "state"),
    "--npm",
    npm,
  ];
  writeFileSync(
    imagesFile,
    JSON.stringify({
      images: [
        { match: "isotope/builder:*", command, env: { PATH: process.env["PATH"] ?? "" } },
        {
          match: "python-builder:*",
          command: [
            PYTHON,
            join(ROOT, "test/env/python/builder.py"),
            "--host",
            "${POD_IP}",
            "--packages",
            "${ROOT}/packages",
          ],
          env: {},
        },
        fetcherRule(process.execPath, join(ROOT, "env-images/fetcher/main.ts")),
      ],
    }),
  );
  const localkube = await startLocalkube({
    dataDir: folder,
    port: 0,
    crdDirs: [join(ROOT, "charts/isotope/files/crds")],
    parts: [
      kubeletPart({
        nodeName: "local",
        stateDir: folder,
        imagesFile,
        podCidr: `127.${randomInt(100, 200)}.${randomInt(0, 255)}.0/24`,
        parentPid: undefined,
      }),
      controllersPart({ nodeName: "local", version: "v1.34.0" }),
    ],
    log: () => undefined,
  });
  const client = await createKubeClient({ kubeconfig: localkube.kubeconfigPath });
  const master = randomBytes(32);
  const builders: PackageBuilder[] = [];
  const another: BuilderWorld["another"] = (settings = {}) => {
    const builder = packageBuilder({
      pods: builderPods({
        cluster: kubeBuilderCluster(client),
        masters: () => [master],
        log,
        readyTimeoutMs: 90_000,
        imagePatienceMs: 200,
      }),
      log,
      concurrency: 2,
      buildTimeoutMs: settings.buildTimeoutMs ?? 90_000,
      backoffMs: 10,
      idlePodMs: settings.idlePodMs ?? 0,
      maxArtifactBytes: 2 ** 24,
    });
    builders.push(builder);
    return builder;
  };
  const setNpm = (script: string): void => {
    writeFileSync(npm, `#!/bin/sh\n${script}\n`);
    chmodSync(npm, 0o755);
  };
  setNpm("exit 1");
  return {
    client,
    folder,
    builder: another(),
    another,
    setNpm,
    addEnvironment: (name, image) =>
      client.create(ENVIRONMENTS, {
        apiVersion: "fission.io/v1",
        kind: "Environment",
        metadata: { name, namespace: "default" },
        spec: {
          version: 3,
          runtime: { image: "isotope/deno-env" },
          poolsize: 0,
          ...(image === undefined ? {} : { builder: { image } }),
        },
      }),
    pods: async () =>
      (await client.list(PODS, { namespace: "default" })).items.filter(
        (pod) => pod.metadata.deletionTimestamp === undefined,
      ),
    processesOf: (pod) => processesWith(pod.status?.podIP ?? "no address"),
    stop: async () => {
      for (const builder of builders) await builder.close();
      await client.close();
      await localkube.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const BUILDERS = /\/env-images\/builder\/main\.ts$|\/python\/builder\.py$/;

/** Builders with an argument. */
function processesWith(argument: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const given = procEntry(pid, "cmdline").split("\0");
      return given.includes(argument) && given.some((text) => BUILDERS.test(text));
    })
    .map(Number);
}

export function inputOf(
  environment: Environment,
  source: string | Buffer,
  more: Partial<BuildInput> = {},
): BuildInput {
  const bytes = Buffer.from(source);
  return {
    namespace: "default",
    package: "p",
    environment,
    source: { sha256: createHash("sha256").update(bytes).digest("hex"), filename: "hello.ts", bytes },
    command: "",
    entry: "",
    typeCheck: false,
    ...more,
  };
}
