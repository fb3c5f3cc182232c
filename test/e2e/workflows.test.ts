import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { HistoryPage, RunView } from "../../api/wire/workflows.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { loadKubeConnection } from "../../kube/connection.ts";
import { WORKFLOWS } from "../../kube/kinds.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";

let platform: TestPlatform;
let kube: KubeClient;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
}, 150_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

/** A call of the operations API, as the owner of the kubeconfig. */
async function ops(path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const connection = await loadKubeConnection({ kubeconfig: platform.connection.kubeconfig });
  const reply = await fetch(`${platform.connection.opsUrl}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: (await connection.authorization()) ?? "", "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: reply.status, body: await reply.json() };
}

/** Starts a run once its workflow can be started, and waits for its end. */
async function run(start: { workflow: string; id?: string; input?: unknown }): Promise<RunView> {
  const started = await vi.waitFor(
    async () => {
      const reply = await ops("/v1/runs", { namespace: platform.namespace, ...start });
      expect(reply).toMatchObject({ status: 201 });
      return RunView.parse(reply.body);
    },
    { timeout: 30_000, interval: 200 },
  );
  return RunView.parse((await ops(`/v1/runs/${started.namespace}/${started.id}/wait?timeoutMs=30000`)).body);
}

const history = async ({ namespace, id }: RunView) =>
  HistoryPage.parse((await ops(`/v1/runs/${namespace}/${id}/history?limit=1000`)).body).entries;

describe("a workflow of two functions and a timer", () => {
  beforeAll(async () => {
    await deploy(platform, {
      "double.ts": `
export default async (request: Request) => {
  const { n } = await request.json();
  return Response.json({ n: n * 2, key: request.headers.get("idempotency-key"), attempt: request.headers.get("x-isotope-attempt") });
};`,
      "add-one.ts": `export default async (request: Request) => Response.json({ n: (await request.json()).n + 1 });`,
    });
    await kube.create(WORKFLOWS, {
      apiVersion: API_GROUP_VERSION,
      kind: "Workflow",
      metadata: { name: "sum", namespace: platform.namespace },
      spec: {
        startAt: "double",
        states: {
          double: { type: "Task", function: { type: "name", name: "double" }, next: "rest" },
          rest: { type: "Wait", duration: "1s", next: "add" },
          add: { type: "Task", function: { type: "name", name: "add-one" }, end: true },
        },
      },
    });
  }, 60_000);

  it("runs to its end, with its history", async () => {
    const ended = await run({ workflow: "sum", id: "first", input: { n: 20 } });
    expect(ended).toMatchObject({ status: "succeeded", output: { n: 41 }, id: "first" });
    const lines = await history(ended);
    expect(lines.map(({ type, state, actor }) => [type, actor ?? state ?? ""])).toEqual([
      ["started", ""],
      ["transition", "double"],
      ["effect-scheduled", "double"],
      ["effect-completed", "double"],
      ["transition", "rest"],
      ["timer-set", ""],
      ["timer-fired", ""],
      ["transition", "add"],
      ["effect-scheduled", "add"],
      ["effect-completed", "add"],
      ["transition", ""],
      ["finished", ""],
    ]);
    expect(lines[3]?.payload).toMatchObject({
      value: { key: `${platform.namespace}/first/1.0`, attempt: "1" },
    });
    const [set, fired] = [lines[5], lines[6]].map((line) => Date.parse(line?.at ?? ""));
    // Never early: what a timer waits for is counted from the transition, which is committed a moment later.
    expect(Date.parse(lines[5]?.note ?? "")).toBeLessThanOrEqual(fired ?? 0);
    expect((fired ?? 0) - (set ?? 0)).toBeGreaterThan(500);
  }, 60_000);

  it("is started once by an id, and refuses what is no start", async () => {
    const start = { namespace: platform.namespace, workflow: "sum" };
    const again = await ops("/v1/runs", { ...start, id: "first", input: { n: 20 } });
    expect(again).toMatchObject({ status: 200, body: { status: "succeeded", output: { n: 41 } } });
    expect(await ops("/v1/runs", { ...start, id: "first", input: { n: 1 } })).toMatchObject({
      status: 409,
      body: { reason: "run_conflict" },
    });
    expect(await ops("/v1/runs", { ...start, workflow: "nothing" })).toMatchObject({
      status: 404,
      body: { reason: "workflow_not_found" },
    });
    expect(await ops("/v1/runs", { ...start, id: "a/b" })).toMatchObject({ status: 400 });
    expect(await ops("/v1/runs/default/none")).toMatchObject({
      status: 404,
      body: { reason: "run_not_found" },
    });
    expect(await ops("/v1/runs/default/first/cancel", {})).toMatchObject({
      status: 409,
      body: { reason: "run_finished" },
    });
  });
});
