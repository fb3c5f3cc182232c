import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { HistoryPage, RunView } from "../../api/wire/workflows.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { FUNCTION_VERSIONS, WORKFLOW_RUNS, WORKFLOWS } from "../../kube/kinds.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
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

/** A call of the operations API, as the owner of the kubeconfig. */
async function ops(
  path: string,
  body?: unknown,
  as: "json" | "text" = "json",
): Promise<{ status: number; body: unknown }> {
  const { status, text } = await platform.ops(path, body);
  return { status, body: as === "text" ? text : JSON.parse(text) };
}

/** Starts a run once its workflow can be started, and waits for its end. */
async function run(start: { workflow: string; id?: string; input?: unknown }): Promise<RunView> {
  const started = await vi.waitFor(
    async () => {
      const reply = await ops("/v1/runs", { namespace: platform.namespace, ...start });
      expect(reply).toMatchObject({ status: 201 });
      return RunView.parse(reply.body);
    },
    { timeout: 60_000, interval: 200 },
  );
  return ended(started.id);
}

/** A run once it has ended. */
const ended = (id: string): Promise<RunView> =>
  vi.waitFor(
    async () => {
      const { body } = await ops(`/v1/runs/${platform.namespace}/${id}/wait?timeoutMs=10000`);
      const seen = RunView.parse(body);
      expect(seen.status).not.toBe("running");
      return seen;
    },
    { timeout: 120_000 },
  );

const history = async ({ namespace, id }: RunView) =>
  HistoryPage.parse((await ops(`/v1/runs/${namespace}/${id}/history?limit=1000`)).body).entries;

describe("a workflow of two functions and a timer", () => {
  beforeAll(async () => {
    await deploy(platform, {
      "double.ts": `
export const config = { route: false };
export default async (request: Request) => {
  const { n } = await request.json();
  return Response.json({ n: n * 2, key: request.headers.get("idempotency-key"), attempt: request.headers.get("x-isotope-attempt") });
};`,
      "add-one.ts": `export const config = { route: false };
export default async (request: Request) => Response.json({ n: (await request.json()).n + 1 });`,
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
  }, 300_000);

  it("runs to its end, with its history", async () => {
    const first = await run({ workflow: "sum", id: "first", input: { n: 20 } });
    expect(first).toMatchObject({ status: "succeeded", output: { n: 41 }, id: "first" });
    const lines = await history(first);
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
    const [called = 0, fired = 0] = [lines[2], lines[6]].map((line) => Date.parse(line?.at ?? ""));
    const due = Date.parse(lines[5]?.note ?? "");
    // Never early: what a timer waits for is counted from the transition, which is committed a moment later, on a busy machine many.
    expect(due).toBeLessThanOrEqual(fired);
    expect(due - called).toBeGreaterThanOrEqual(1_000);
  }, 300_000);

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
    expect(await ops(`/v1/runs/${platform.namespace}/none`)).toMatchObject({
      status: 404,
      body: { reason: "run_not_found" },
    });
    expect(await ops(`/v1/runs/${platform.namespace}/first/cancel`, {})).toMatchObject({
      status: 409,
      body: { reason: "run_finished" },
    });
  });
});

const ORDER = `
import { defineWorkflow, fn, map, workflow } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";

const machine = setup({
  types: {
    input: {} as { items: number[] },
    context: {} as { items: number[]; tags: string[]; approved: string; shipped: string },
    events: {} as { type: "ship"; to: string },
  },
  actors: {
    tag: map(fn<number, { tag: string }>("tag"), { maxConcurrency: 5 }),
    ask: fn<{ items: number }, { by: string }>("ask", { waitForCallback: true }),
    pack: workflow<{ to: string }, { parcel: string }>("pack"),
  },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ items: input?.items ?? [], tags: [], approved: "", shipped: "" }),
  initial: "tagging",
  states: {
    tagging: {
      invoke: {
        src: "tag",
        input: ({ context }) => context.items,
        onDone: { target: "asking", actions: assign({ tags: ({ event }) => event.output.map(({ tag }) => tag) }) },
      },
    },
    asking: {
      invoke: {
        src: "ask",
        input: ({ context }) => ({ items: context.items.length }),
        onDone: { target: "waiting", actions: assign({ approved: ({ event }) => event.output.by }) },
      },
    },
    waiting: { on: { ship: { target: "packing", actions: assign({ shipped: ({ event }) => event.to }) } } },
    packing: {
      invoke: {
        src: "pack",
        input: ({ context }) => ({ to: context.shipped }),
        onDone: { target: "done", actions: assign({ shipped: ({ event }) => event.output.parcel }) },
      },
    },
    done: { type: "final" },
  },
  output: ({ context }) => ({ tags: context.tags.length, first: context.tags[0], approved: context.approved, shipped: context.shipped }),
});
export const config = { route: "/orders" };
export default defineWorkflow({ id: "order", machine });
`;

const PACK = `
import { defineWorkflow, fn } from "@isotope/platform/workflows";
import { setup } from "xstate";
export default defineWorkflow({
  id: "pack",
  machine: setup({
    types: { input: {} as { to: string }, context: {} as { to: string } },
    actors: { wrap: fn<{ to: string }, { parcel: string }>("wrap") },
  }).createMachine({
    id: "pack",
    context: ({ input }) => ({ to: input?.to ?? "" }),
    initial: "wrapping",
    states: {
      wrapping: { invoke: { id: "wrap", src: "wrap", input: ({ context }) => context, onDone: "done" } },
      done: { type: "final", output: ({ event }) => event.output },
    },
    output: ({ event }) => event.output,
  }),
});
`;

/** Wraps, waits for a word, wraps again. */
const TWICE = `
import { defineWorkflow, fn } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";
export default defineWorkflow({
  id: "twice",
  machine: setup({
    types: { context: {} as { first: string; second: string }, events: {} as { type: "go" } },
    actors: { wrap: fn<{ to: string }, { parcel: string }>("wrap") },
  }).createMachine({
    id: "twice",
    context: { first: "", second: "" },
    initial: "first",
    states: {
      first: {
        invoke: {
          src: "wrap",
          input: { to: "Bern" },
          onDone: { target: "resting", actions: assign({ first: ({ event }) => event.output.parcel }) },
        },
      },
      resting: { on: { go: "second" } },
      second: {
        invoke: {
          src: "wrap",
          input: { to: "Bern" },
          onDone: { target: "done", actions: assign({ second: ({ event }) => event.output.parcel }) },
        },
      },
      done: { type: "final" },
    },
    output: ({ context }) => [context.first, context.second],
  }),
});
`;

describe("a workflow in TypeScript", () => {
  const wrap = (said: string) =>
    `export const config = { route: false };
export default async (request: Request) => Response.json({ parcel: "${said} " + (await request.json()).to });`;
  let asked: string | undefined;

  beforeAll(async () => {
    await deploy(platform, {
      "tag.ts": `
export const config = { route: false, requestsPerPod: 20 };
export default async (request: Request) => Response.json({ tag: "t" + (await request.json()) });`,
      // Tells whoever looks the token by which it is answered.
      "ask.ts": `
let last = "none";
export const config = { route: { path: "/last-token", methods: ["GET"] } };
export default (request: Request) => {
  if (request.method === "GET") return new Response(last);
  last = request.headers.get("x-isotope-callback-token") ?? "none";
  return new Response(null, { status: 202 });
};`,
      "wrap.ts": wrap("first"),
      "../workflows/order.ts": ORDER,
      "../workflows/pack.ts": PACK,
      "../workflows/twice.ts": TWICE,
    });
  }, 300_000);

  const view = async (id: string): Promise<RunView> =>
    RunView.parse((await ops(`/v1/runs/${platform.namespace}/${id}`)).body);
  const until = (id: string, state: string) =>
    vi.waitFor(
      async () => {
        const seen = await view(id);
        expect(seen.states).toContain(state);
        return seen;
      },
      { timeout: 90_000, interval: 100 },
    );
  const runPath = (id: string, action: string) => `/v1/runs/${platform.namespace}/${id}/${action}`;

  it("is started by its route, maps over items and waits for a callback", async () => {
    const started = await platform.get("/orders", {
      method: "POST",
      headers: { "idempotency-key": "my-order", "content-type": "application/json" },
      body: JSON.stringify({ items: Array.from({ length: 50 }, (_, n) => n) }),
    });
    expect(started.status).toBe(202);
    const { run: key } = (await started.json()) as { run: { id: string } };
    const waiting = await until(key.id, "asking");
    expect(waiting).toMatchObject({
      startedBy: `http:${platform.namespace}/workflow-order`,
      pins: { tag: { name: "tag", version: "tag-v1" } },
    });
    await vi.waitFor(
      async () => {
        expect((await view(key.id)).steps).toMatchObject([{ actor: "ask", waiting: true }]);
        asked = await (await platform.get("/last-token")).text();
        expect(asked).not.toBe("none");
      },
      { timeout: 60_000 },
    );
    const answer = { method: "POST", body: JSON.stringify({ output: { by: "ann" } }) };
    const path = `/_isotope/callbacks/${asked ?? ""}`;
    expect((await platform.get(path, answer)).status).toBe(202);
    await until(key.id, "waiting");
    expect((await platform.get(path, answer)).status).toBe(409);
    expect((await platform.get("/_isotope/callbacks/forged.token", answer)).status).toBe(404);
    expect(await ops(runPath(key.id, "events"), { event: { type: "nothing" } })).toMatchObject({
      status: 409,
      body: { reason: "event_refused" },
    });
    expect(await ops(runPath(key.id, "events"), { event: { type: "ship", to: "Rome" } })).toMatchObject({
      status: 202,
    });
    expect(await ended(key.id)).toMatchObject({
      status: "succeeded",
      output: { tags: 50, first: "t0", approved: "ann", shipped: "first Rome" },
    });
  }, 300_000);

  it("goes on with the versions that it began with, while new runs get what is deployed", async () => {
    const start = { namespace: platform.namespace, workflow: "twice", id: "in-between" };
    expect((await ops("/v1/runs", start)).status).toBe(201);
    await until("in-between", "resting");
    await vi.waitFor(
      async () => {
        const { metadata } = await kube.get(FUNCTION_VERSIONS, {
          namespace: platform.namespace,
          name: "wrap-v1",
        });
        expect(Object.keys(metadata.annotations ?? {})).toContain("isotope.dev/hold.workflow-twice");
      },
      { timeout: 60_000, interval: 100 },
    );
    await deploy(platform, { "wrap.ts": wrap("second") });
    expect((await ops(runPath("in-between", "events"), { event: { type: "go" } })).status).toBe(202);
    expect(await ended("in-between")).toMatchObject({
      output: ["first Bern", "first Bern"],
      pins: { wrap: { version: "wrap-v1" } },
    });
    // Each replica hears of a deployment by itself.
    await vi.waitFor(
      async () => {
        const next = await run({ workflow: "pack", input: { to: "Oslo" } });
        expect(next).toMatchObject({
          output: { parcel: "second Oslo" },
          pins: { wrap: { version: "wrap-v2" } },
        });
      },
      { timeout: 120_000, interval: 200 },
    );
  }, 300_000);

  it("is streamed, listed, drawn, and cancelled with its children", async () => {
    const id = "to-cancel";
    await ops("/v1/runs", { namespace: platform.namespace, workflow: "order", id, input: { items: [1] } });
    await until(id, "asking");
    const svg = await ops(runPath(id, "graph?format=svg"), undefined, "text");
    expect(svg.body).toContain("<svg");
    expect((await ops(runPath(id, "cancel"), { reason: "no more" })).status).toBe(202);
    const stream = String((await ops(runPath(id, "stream"), undefined, "text")).body);
    expect(stream).toContain("event: entry\nid: 1\n");
    expect(stream).toMatch(/event: end\ndata: \{\}\n\n$/);
    expect(await view(id)).toMatchObject({
      status: "cancelled",
      error: { message: expect.stringContaining("no more") },
    });
    await vi.waitFor(
      async () => {
        const listed = await ops(`/v1/runs?namespace=${platform.namespace}&workflow=order&status=cancelled`);
        expect(listed.body).toMatchObject({ runs: [{ id, workflow: "order", status: "cancelled" }] });
      },
      { timeout: 30_000, interval: 100 },
    );
  }, 300_000);

  it("is run by a WorkflowRun, whose status says how it went", async () => {
    const ref = { namespace: platform.namespace, name: "by-object" };
    const object = { apiVersion: API_GROUP_VERSION, kind: "WorkflowRun" } as const;
    await kube.create(WORKFLOW_RUNS, {
      ...object,
      metadata: ref,
      spec: { workflowRef: "pack", input: { to: "Lima" } },
    });
    await vi.waitFor(
      async () => {
        const { status } = await kube.get(WORKFLOW_RUNS, ref);
        expect(status).toMatchObject({
          phase: "Succeeded",
          output: { parcel: "second Lima" },
          startedAt: expect.any(String),
        });
        expect(status?.recentEvents?.at(-1)).toMatchObject({ type: "finished" });
      },
      { timeout: 60_000, interval: 100 },
    );
    const wrong = { namespace: platform.namespace, name: "of-nothing" };
    await kube.create(WORKFLOW_RUNS, { ...object, metadata: wrong, spec: { workflowRef: "nothing" } });
    await vi.waitFor(
      async () => {
        const { status } = await kube.get(WORKFLOW_RUNS, wrong);
        expect(status).toMatchObject({ phase: "Pending" });
        expect(status?.conditions).toMatchObject([{ type: "Ready", reason: "WorkflowNotFound" }]);
      },
      { timeout: 30_000 },
    );
  }, 300_000);
});
