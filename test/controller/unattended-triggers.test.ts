import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { healthCheck } from "../../controller/ops/probe.ts";
import {
  ENVIRONMENTS,
  FUNCTIONS,
  KUBERNETES_WATCH_TRIGGERS,
  MESSAGE_QUEUE_TRIGGERS,
  PACKAGES,
  TIME_TRIGGERS,
} from "../../kube/kinds.ts";
import { freePortBase } from "../e2e/free-ports.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../redis-server.ts";
import { environment, fn, literalPackage } from "./objects.ts";
import { condition, type KubeServer, type RunningController, runController, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

const MAIN = fileURLToPath(new URL("../../engine/triggers/main.ts", import.meta.url));
const WITHIN_MS = 90_000;

describe.skipIf(!hasRedis)("triggers whose service was killed", () => {
  const folder = mkdtempSync(join(tmpdir(), "isotope-unattended-"));
  let kube: KubeServer;
  let server: RedisServer;
  let running: RunningController;
  let port = 0;
  let service: ChildProcess | undefined;
  const startService = (): void => {
    service = spawn(
      process.execPath,
      [
        MAIN,
        `--port=${port}`,
        "--host=127.0.0.1",
        "--metrics-host=127.0.0.1",
        "--metrics-port=0",
        `--kubeconfig=${kube.localkube.kubeconfigPath}`,
        `--redis-url=${server.url}`,
        `--internal-key-file=${join(folder, "key")}`,
      ],
      { stdio: "ignore" },
    );
  };
  const killService = async (): Promise<void> => {
    if (!service || service.exitCode !== null || service.signalCode !== null) return;
    const ended = once(service, "exit");
    service.kill("SIGKILL");
    await ended;
  };
  beforeAll(async () => {
    writeFileSync(join(folder, "key"), `${"k".repeat(64)}\n`);
    [kube, server, port] = await Promise.all([startKube(), startRedisServer(), freePortBase()]);
    running = runController(kube.client, {
      triggerService: {
        answers: healthCheck(`http://127.0.0.1:${port}/healthz`),
        everyMs: 200,
        goneMs: 2_000,
      },
    });
    startService();
  }, WITHIN_MS);
  afterAll(async () => {
    await killService();
    await running?.controller.stop();
    await Promise.all([kube?.stop(), server?.remove()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const functionref = { type: "name", name: "hello" } as const;
  const meta = (name: string) => ({ namespace: "default", name });
  const KINDS = [TIME_TRIGGERS, KUBERNETES_WATCH_TRIGGERS, MESSAGE_QUEUE_TRIGGERS] as const;
  /** What `Ready` of a timer, a watch and a queue's trigger says, and whether the latter two are connected. */
  const said = async (name: string): Promise<unknown[]> => {
    const objects = await Promise.all(
      KINDS.map((type) => kube.client.get(type as typeof TIME_TRIGGERS, meta(name))),
    );
    return objects.map(({ status }) => {
      const ready = condition({ status } as never, "Ready");
      const connected = status && "connected" in status ? ` ${String(status.connected)}` : "";
      return `${ready?.status ?? ""} ${ready?.reason ?? ""}${connected}`;
    });
  };
  const says = (name: string, expected: string[]) =>
    eventually(
      () => said(name),
      (found) => found.join() === expected.join(),
      WITHIN_MS,
    );
  const create = async (name: string) => {
    const spec = { functionref };
    const api = { apiVersion: "fission.io/v1", metadata: meta(name) } as const;
    await kube.client.create(TIME_TRIGGERS, {
      ...api,
      kind: "TimeTrigger",
      spec: { ...spec, cron: "@yearly" },
    });
    await kube.client.create(KUBERNETES_WATCH_TRIGGERS, {
      ...api,
      kind: "KubernetesWatchTrigger",
      spec: { ...spec, type: "POD" },
    });
    await kube.client.create(MESSAGE_QUEUE_TRIGGERS, {
      ...api,
      kind: "MessageQueueTrigger",
      spec: { ...spec, messageQueueType: "redis-streams", topic: name },
    });
  };
  const ATTENDED = ["True Scheduled", "True Watching true", "True Connected true"];
  const UNATTENDED = [
    "Unknown NoTriggerService",
    "Unknown NoTriggerService false",
    "Unknown NoTriggerService false",
  ];

  test("they say so, also those that are made meanwhile, until a service is back", async () => {
    await kube.client.create(ENVIRONMENTS, environment("deno"));
    await kube.client.create(PACKAGES, literalPackage("pkg", "export default () => new Response()"));
    await kube.client.create(FUNCTIONS, fn("hello"));
    await create("before");
    await says("before", ATTENDED);
    await killService();
    await says("before", UNATTENDED);
    await create("meanwhile");
    await says("meanwhile", UNATTENDED);
    startService();
    await says("before", ATTENDED);
    await says("meanwhile", ATTENDED);
    expect(running.log.join("\n")).toContain("No trigger service answers");
  }, 300_000);
});
