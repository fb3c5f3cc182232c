import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { stringify } from "yaml";
import { WorkflowSpec } from "../../api/kinds/workflow.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { HistoryLine, RunView } from "../../api/wire/workflows.ts";
import { createKubeClient } from "../../kube/client.ts";
import { WORKFLOWS } from "../../kube/kinds.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { CliResult } from "./run-cli.ts";
import type { TestPlatform } from "./test-platform.ts";

/** `isotope workflow …` against a running platform, with workflows in the startAt/states format. */
let platform: TestPlatform;
const cwd = mkdtempSync(join(tmpdir(), "isotope-workflow-cli-"));

const cli = (args: string[], stdin?: string): Promise<CliResult> =>
  platform.cli(args, { cwd, ...(stdin === undefined ? {} : { stdin }) });
async function ok(...args: string[]): Promise<string> {
  const { code, out, err } = await cli(args);
  if (code !== 0) throw new Error(`isotope ${args.join(" ")} ended with ${code}:\n${out}${err}`);
  return out;
}
async function fails(code: number, ...args: string[]): Promise<string> {
  const result = await cli(args);
  expect({ args, code: result.code }, result.out + result.err).toEqual({ args, code });
  return result.out + result.err;
}
const file = (name: string, value: unknown): string => {
  writeFileSync(join(cwd, name), stringify(value));
  return name;
};
const describeRun = async (id: string): Promise<RunView> =>
  RunView.parse(JSON.parse(await ok("workflow", "runs", "describe", id, "-o", "json")));

const task = (name: string, more: object = {}) => ({ type: "Task", function: { name }, ...more });
const order = {
  apiVersion: "fission.io/v1",
  kind: "Workflow",
  metadata: { name: "order" },
  spec: {
    startAt: "price",
    states: {
      price: task("price", { inputPath: "$.items", resultPath: "$.total", next: "large" }),
      large: {
        type: "Choice",
        choices: [{ variable: "$.total", numericGreaterThan: 100, next: "wait" }],
        default: "both",
      },
      wait: { type: "Wait", duration: "1h", next: "both" },
      both: {
        type: "Parallel",
        branches: [
          { startAt: "mail", states: { mail: task("echo", { end: true }) } },
          {
            startAt: "each",
            states: {
              each: {
                type: "Map",
                itemsPath: "$.items",
                branches: [
                  {
                    startAt: "pack",
                    states: { pack: task("pack", { next: "packed" }), packed: { type: "Succeed" } },
                  },
                ],
                end: true,
              },
            },
          },
        ],
        resultPath: "$.done",
        outputPath: "$.done",
        catch: [{ errorType: "Fission.BranchFailed", next: "refused" }],
        end: true,
      },
      refused: { type: "Fail", error: "Refused", cause: "it cannot be packed" },
    },
  },
};

beforeAll(async () => {
  platform = await startTestPlatform();
  await deploy(platform, {
    // Routes of all the tests on a cluster are of one router: what is called by workflows only has none.
    "price.ts": `export const config = { route: false };
export default async (request) => Response.json((await request.json()).reduce((sum, item) => sum + item.price, 0));`,
    "echo.ts": `export const config = { route: false };
export default async (request) => Response.json(await request.json());`,
    // One pod, which remembers.
    "pack.ts": `export const config = { route: false, requestsPerPod: 50, concurrency: 1 };
let failures = 0;
export default async (request) => {
  const { name } = await request.json();
  if (name === "ice") return Response.json({ errorType: "Melts", cause: { name } }, { status: 422 });
  if (name === "glass" && failures++ === 0) return Response.json({ errorType: "Broken", cause: name }, { status: 422 });
  return Response.json("packed " + name);
};`,
  });
}, 240_000);
afterAll(async () => {
  await platform?.stop();
  rmSync(cwd, { recursive: true, force: true });
});

/** A run once its workflow can be started. */
const run = (id: string, input: unknown, ...more: string[]): Promise<CliResult> =>
  vi.waitFor(
    async () => {
      const result = await cli([
        "workflow",
        "run",
        "order",
        "--id",
        id,
        "-i",
        JSON.stringify(input),
        ...more,
      ]);
      expect(result.err).not.toMatch(/is not ready|no revision|not be started/i);
      return result;
    },
    { timeout: 120_000, interval: 300 },
  );

describe("isotope workflow", { timeout: 300_000 }, () => {
  it("is not needed: a manifest that leaves the type of its functions out is taken as it is", async () => {
    const kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
    const spec = { startAt: "a", states: { a: { type: "Task", function: { name: "echo" }, end: true } } };
    const created = await kube.create(WORKFLOWS, {
      apiVersion: API_GROUP_VERSION,
      kind: "Workflow",
      metadata: { name: "bare", namespace: platform.namespace },
      spec: WorkflowSpec.parse(spec),
    });
    await kube.close();
    expect(created.spec.states?.["a"]?.function).toEqual({ type: "name", name: "echo" });
  });

  it("checks a file before it creates anything, and says what is wrong with which field", async () => {
    const { states } = order.spec;
    const bad = file("bad.yaml", { ...order, spec: { startAt: "prise", states } });
    expect(await fails(1, "workflow", "validate", "-f", bad, "--offline")).toContain(
      'bad.yaml: startAt: there is no state "prise": allowed are price, large, wait, both, refused',
    );
    expect(await fails(1, "workflow", "create", "-f", bad)).toContain('there is no state "prise"');
    const unknown = file("unknown.yaml", {
      startAt: "a",
      states: { a: task("nobody", { end: true }) },
    });
    expect(await ok("workflow", "validate", "-f", unknown, "--offline")).toContain("is a valid workflow");
    expect(await fails(1, "workflow", "validate", "-f", unknown)).toContain(
      'unknown.yaml: states.a.function.name: there is no function "nobody"',
    );
    expect(await fails(2, "workflow", "create", "-f", unknown)).toContain("--name is needed");
  });

  it("creates, lists, changes and draws a workflow", async () => {
    const path = file("order.yaml", order);
    expect(await ok("workflow", "create", "-f", path, "--dry")).toContain("type: name");
    expect(await ok("workflow", "create", "-f", path)).toBe('workflow "order" created\n');
    expect(await ok("wf", "list", "-o", "name")).toContain("workflows/order");
    expect(await ok("workflow", "update", "-f", path)).toBe('workflow "order" updated\n');
    const offline = await ok("workflow", "graph", "-f", path);
    expect(offline).toContain("both_0_mail");
    await vi.waitFor(async () => expect(await ok("workflow", "graph", "order")).toBe(offline), {
      timeout: 60_000,
      interval: 300,
    });
    expect(await ok("workflow", "graph", "order", "-o", "svg")).toMatch(/^<svg /);
  });

  it("runs it, waits for its output, and starts nothing twice", async () => {
    const input = {
      items: [
        { name: "lamp", price: 40 },
        { name: "chair", price: 50 },
      ],
    };
    const { code, out, err } = await run("one", input, "--wait");
    expect({ code, err }).toEqual({ code: 0, err: 'run "one" started\n' });
    expect(JSON.parse(out)).toEqual([{ ...input, total: 90 }, ["packed lamp", "packed chair"]]);
    const again = await ok("workflow", "run", "order", "--id", "one", "-i", JSON.stringify(input));
    expect(again).toContain('run "one" of workflow "order" succeeded');
    expect(await ok("workflow", "runs", "list", "--workflow", "order")).toMatch(/one +order +succeeded/);
    expect(await ok("runs", "list", "--status", "failed", "-o", "json")).toBe("[]\n");
    expect(await ok("workflow", "describe", "order")).toMatch(
      /5 states from "price" on[\s\S]*Validated +True[\s\S]*one +succeeded/,
    );
    expect(await fails(1, "workflow", "run", "order", "--id", "one", "-i", "{}")).toMatch(/one/);
    expect(await fails(2, "workflow", "run", "order", "--deadline", "soon")).toContain(
      '--deadline must be a time such as 90s, 24h or 1h30m, got "soon"',
    );
    expect(await fails(2, "runs", "list", "--workflow", "A B")).toContain('got "A B"');
    expect(await fails(2, "workflow", "watch", "one")).toContain('did you mean "workflow runs watch"?');
    expect(await ok("workflow", "--help")).toContain("runs <verb>");
  });

  it("shows a run's history, with what went in and out, and its picture", async () => {
    const lines = HistoryLine.array().parse(
      JSON.parse(await ok("workflow", "runs", "history", "one", "-o", "json")),
    );
    expect(lines.map(({ seq }) => seq)).toEqual(lines.map((_line, at) => (lines[0]?.seq ?? 0) + at));
    expect(
      lines
        .filter(({ type }) => type === "effect-completed")
        .map(({ state = "" }) => state)
        .sort((a, b) => a.localeCompare(b)),
    ).toEqual(["both.0.mail", "both.1.each[0].pack", "both.1.each[1].pack", "price"]);
    expect(await ok("workflow", "runs", "history", "one")).toMatch(/SEQ +AT +TYPE +STATE/);
    expect(await ok("workflow", "runs", "history", "one", "--io")).toContain('"packed lamp"');
    const picture = await ok("workflow", "runs", "graph", "one");
    expect(picture).toContain("class price done");
    expect(picture).toContain("class both_1_each_pack done");
    expect(picture).not.toMatch(/class (wait|refused) /);
    expect(await ok("workflow", "runs", "describe", "one")).toMatch(/Status: +succeeded[\s\S]*Pinned:/);
    expect(await ok("workflow", "runs", "watch", "one")).toContain("packed chair");
  });

  it("shows what a run waits for, and cancels it", async () => {
    expect((await run("large", { items: [{ name: "table", price: 400 }] })).code).toBe(0);
    await vi.waitFor(async () => expect(await describeRun("large")).toMatchObject({ states: ["wait"] }), {
      timeout: 60_000,
    });
    expect(await ok("workflow", "runs", "describe", "large")).toMatch(
      /Timers:[\s\S]*in 59m|Timers:[\s\S]*in 60m/,
    );
    expect(await ok("workflow", "runs", "graph", "large")).toContain("class wait active");
    expect(await fails(1, "workflow", "runs", "signal", "large", "--event", "GO")).toMatch(/GO/);
    await ok("workflow", "runs", "cancel", "large", "--reason", "not today");
    expect(await fails(1, "workflow", "runs", "watch", "large")).toContain('run "large" cancelled');
    expect(await describeRun("large")).toMatchObject({ status: "cancelled", states: ["wait"] });
  });

  it("fails with the error of the workflow, and goes on from the failed step", async () => {
    const failed = await run("ice", { items: [{ name: "ice", price: 1 }] }, "--wait");
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('run "ice" failed: Refused: it cannot be packed');
    const glass = await run("glass", { items: [{ name: "glass", price: 1 }] }, "--wait");
    expect(glass.code).toBe(1);
    expect(await ok("workflow", "runs", "retry", "glass")).toBe('run "glass" goes on\n');
    expect(await ok("workflow", "runs", "watch", "glass")).toContain("packed glass");
    expect((await describeRun("glass")).status).toBe("succeeded");
  });

  it("ends a run at once", async () => {
    expect((await run("stuck", { items: [{ name: "table", price: 400 }] })).code).toBe(0);
    await ok("workflow", "runs", "terminate", "stuck");
    await vi.waitFor(async () => expect((await describeRun("stuck")).status).toBe("terminated"), {
      timeout: 60_000,
    });
    expect(await fails(1, "workflow", "runs", "cancel", "nobody")).toMatch(/nobody/);
  });

  it("deletes a workflow; its runs stay to be read", async () => {
    await ok("workflow", "delete", "order");
    expect(await ok("workflow", "runs", "list", "-o", "name")).toContain("workflowruns/one");
    // Each replica hears by itself that it is gone.
    await vi.waitFor(async () => expect((await cli(["workflow", "run", "order"])).code).toBe(1), {
      timeout: 30_000,
      interval: 300,
    });
  });
});
