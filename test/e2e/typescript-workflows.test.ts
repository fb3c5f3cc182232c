import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { RunView } from "../../api/wire/workflows.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { WORKFLOWS } from "../../kube/kinds.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy, writeProject } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";

let platform: TestPlatform;
let kube: KubeClient;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
}, 240_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

async function ops(path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const { status, text } = await platform.ops(path, body);
  return { status, body: JSON.parse(text) };
}

/** Each replica of the workflows hears of a deployment by itself. */
const start = (workflow: string, input: unknown): Promise<RunView> =>
  vi.waitFor(
    async () => {
      const reply = await ops("/v1/runs", { namespace: platform.namespace, workflow, input });
      expect(reply).toMatchObject({ status: 201 });
      return RunView.parse(reply.body);
    },
    { timeout: 30_000, interval: 200 },
  );
const ended = ({ namespace, id }: RunView): Promise<RunView> =>
  vi.waitFor(
    async () => {
      const seen = RunView.parse((await ops(`/v1/runs/${namespace}/${id}/wait?timeoutMs=10000`)).body);
      expect(seen.status).not.toBe("running");
      return seen;
    },
    { timeout: 120_000 },
  );

const ORDER = (extra = "") => `
import { assign, setup } from "xstate";
import { defineWorkflow, duration, failure, fn, type WorkflowConfig } from "@isotope/platform/workflows";
import { DISCOUNT } from "../functions/_shared/prices.ts";

export const config = { route: "/typed-orders", wait: "60s" } satisfies WorkflowConfig;

const machine = setup({
  types: {
    input: {} as { price: number; approve?: boolean },
    context: {} as { price: number; approve: boolean; receipt?: string; why?: string },
    events: {} as { type: "APPROVE" },
  },
  actors: { charge: fn<{ price: number }, { receipt: string }>("charge", { retry: { attempts: 2, base: 0.05 } }) },
  guards: { needsNobody: ({ context }) => !context.approve },
  delays: { pause: duration("200ms") },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ price: input.price * DISCOUNT, approve: input.approve ?? false }),
  initial: "charging",
  states: {
    charging: {
      invoke: {
        src: "charge", id: "charge", input: ({ context }) => ({ price: context.price }),
        onDone: { target: "pausing", actions: assign({ receipt: ({ event }) => event.output.receipt }) },
        onError: { target: "refused", actions: assign({ why: ({ event }) => failure(event).type }) },
      },
    },
    pausing: { after: { pause: "deciding" } },
    deciding: { always: { guard: "needsNobody", target: "shipped" }, on: { APPROVE: "shipped" } },
    shipped: { type: "final" },
    refused: { type: "final" },
  },
  output: ({ context }) => ({ receipt: context.receipt ?? null, why: context.why ?? null${extra} }),
});
export default defineWorkflow({ machine });
`;
const FUNCTIONS = {
  "_shared/prices.ts": "export const DISCOUNT = 2;",
  "charge.ts": `
export const config = { route: false };
export default async (request: Request) => {
  const { price } = await request.json();
  if (price > 100) return Response.json({ errorType: "TooMuch", cause: "too much" }, { status: 402 });
  return Response.json({ receipt: "r" + price });
};`,
};

describe("a workflow in TypeScript", () => {
  beforeAll(async () => {
    await deploy(platform, { ...FUNCTIONS, "../workflows/order.ts": ORDER() });
  }, 300_000);

  it("is ready once it is deployed, and runs step, timer, and guard to its output", async () => {
    const object = await kube.get(WORKFLOWS, { namespace: platform.namespace, name: "order" });
    expect(object.status?.conditions?.find(({ type }) => type === "Ready")?.status).toBe("True");
    const run = await ended(await start("order", { price: 5 }));
    expect(run).toMatchObject({ status: "succeeded", output: { receipt: "r10", why: null } });
    expect(run.definition).toBe(object.status?.definition?.digest);
  }, 300_000);

  it("takes a function's failure as its error", async () => {
    expect(await ended(await start("order", { price: 500 }))).toMatchObject({
      status: "succeeded",
      output: { receipt: null, why: "TooMuch" },
    });
  }, 300_000);

  it("waits for its event", async () => {
    const run = await start("order", { price: 1, approve: true });
    await vi.waitFor(
      async () => {
        const { body } = await ops(`/v1/runs/${run.namespace}/${run.id}`);
        expect(body).toMatchObject({ states: ["deciding"], accepts: ["APPROVE"] });
      },
      { timeout: 60_000, interval: 50 },
    );
    const events = `/v1/runs/${run.namespace}/${run.id}/events`;
    expect(await ops(events, { event: { type: "xstate.done.actor.charge" } })).toMatchObject({ status: 422 });
    expect(await ops(events, { event: { type: "OTHER" } })).toMatchObject({ status: 409 });
    expect(await ops(events, { event: { type: "APPROVE" } })).toMatchObject({ status: 202 });
    expect(await ended(run)).toMatchObject({ status: "succeeded", output: { receipt: "r2" } });
  }, 300_000);

  it("is started by its route, which waits for the result", async () => {
    const reply = await fetch(`${platform.connection.routerUrl}/typed-orders`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ price: 7 }),
    });
    expect(reply.status).toBe(200);
    expect(await reply.json()).toMatchObject({ receipt: "r14" });
  }, 300_000);

  it("stays with the definition that it began with", async () => {
    const run = await start("order", { price: 3, approve: true });
    await deploy(platform, { ...FUNCTIONS, "../workflows/order.ts": ORDER(", version: 2") });
    await vi.waitFor(
      async () =>
        expect(await ended(await start("order", { price: 4 }))).toMatchObject({
          output: { receipt: "r8", version: 2 },
        }),
      { timeout: 120_000, interval: 200 },
    );
    await vi.waitFor(
      async () => {
        const sent = await ops(`/v1/runs/${run.namespace}/${run.id}/events`, { event: { type: "APPROVE" } });
        expect(sent.status).toBe(202);
      },
      { timeout: 60_000, interval: 50 },
    );
    expect((await ended(run)).output).toEqual({ receipt: "r6", why: null });
  }, 300_000);

  it("is refused with its place when it can never end", async () => {
    const source = ORDER().replaceAll('{ type: "final" }', "{}");
    const folder = writeProject(platform, {
      ...FUNCTIONS,
      "../workflows/endless.ts": source.replace("/typed-orders", "/endless"),
    });
    const { code, out, err } = await platform.cli(["deploy", folder, "--only", "endless"]);
    expect([code, out + err]).toEqual([
      1,
      expect.stringContaining(
        'endless failed: The definition cannot be run: order: Workflow "order" cannot end',
      ),
    ]);
  }, 300_000);
});
