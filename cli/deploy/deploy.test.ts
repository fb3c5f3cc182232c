import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { FunctionConfig } from "../../api/function-config.ts";
import { collectSources } from "./collect-sources.ts";
import { desiredObjects } from "./desired-objects.ts";
import { findProject, nameFrom } from "./find-functions.ts";
import { planObject } from "./plan.ts";
import { prepareWorkflow } from "./prepare.ts";
import { deploymentProgress } from "./progress.ts";
import { newLogText } from "./wait.ts";

const root = mkdtempSync(join(tmpdir(), "isotope-deploy-"));
afterAll(() => rmSync(root, { recursive: true }));

function project(name: string, files: Record<string, string>): string {
  const folder = join(root, name);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

describe("findProject", () => {
  it("finds files and folders, and leaves helpers, tests and types out", () => {
    const folder = project("shop", {
      "package.json": "{}",
      "functions/cart.ts": "",
      "functions/cart.test.ts": "",
      "functions/types.d.ts": "",
      "functions/_shared/db.ts": "",
      "functions/sendMail/index.ts": "",
      "functions/notes.md": "",
    });
    const found = findProject(folder);
    expect(found.functions.map(({ name }) => name)).toEqual(["cart", "send-mail"]);
    expect(found.name).toBe("shop");
  });

  it("refuses two files for one name, and folders without functions", () => {
    const folder = project("twice", { "functions/a.ts": "", "functions/a.js": "" });
    expect(() => findProject(folder)).toThrow('would both be function "a"');
    expect(() => findProject(project("empty", { "readme.md": "" }))).toThrow(
      "it holds no functions/<name>.ts",
    );
    expect(() => findProject(join(root, "nowhere"))).toThrow("no such file or folder");
  });

  it.each([
    ["sendMail", "send-mail"],
    ["get_user", "get-user"],
    ["API", "api"],
  ])("names %s %s", (stem, name) => {
    expect(nameFrom(stem, "x")).toBe(name);
  });

  it.each(["1st", "-", "größe", "a".repeat(64)])("refuses the name %s", (stem) => {
    expect(() => nameFrom(stem, "x.ts")).toThrow("Cannot name a function after");
  });
});

describe("collectSources", () => {
  it("takes what a function imports, its folder and the manifests, and nothing else", () => {
    const folder = project("api", {
      "package.json": '{"name":"api"}',
      "functions/users/index.ts":
        'import { db } from "../../lib/db.js"; import data from "./data.json" with { type: "json" }; import "zod"; export default db;',
      "functions/users/data.json": "{}",
      "functions/users/template.html": "<p>",
      "functions/other.ts": "",
      "lib/db.ts": 'export * from "./pool";',
      "lib/pool.ts": "export const db = 1;",
      "lib/unused.ts": "",
    });
    const found = findProject(folder);
    const users = found.functions.find(({ name }) => name === "users");
    const sources = collectSources(found, users ?? found.functions[0]!, FunctionConfig);
    expect(sources.entry).toBe("functions/users/index.ts");
    expect(sources.files.map(({ path }) => path).toSorted()).toEqual([
      "functions/users/data.json",
      "functions/users/index.ts",
      "functions/users/template.html",
      "lib/db.ts",
      "lib/pool.ts",
      "package.json",
    ]);
  });

  it("names an import that leads nowhere or out of the project", () => {
    const missing = findProject(
      project("missing", { "package.json": "{}", "functions/a.ts": 'import "./b.ts";' }),
    );
    expect(() => collectSources(missing, missing.functions[0]!, FunctionConfig)).toThrow(
      '"functions/a.ts" imports "./b.ts", which does not exist',
    );
    writeFileSync(join(root, "outside.ts"), "");
    const outside = findProject(
      project("outside", { "package.json": "{}", "functions/a.ts": 'import "../../outside.ts";' }),
    );
    expect(() => collectSources(outside, outside.functions[0]!, FunctionConfig)).toThrow("lies outside");
  });
});

const source = { digest: "a".repeat(64), entry: "functions/a.ts" };
const target = { namespace: "default", deployment: "shop" };

describe("desiredObjects", () => {
  it("makes a route of the function's name by default", () => {
    const { function: fn, triggers, package: pkg } = desiredObjects("cart", {}, source, target);
    expect(triggers.map(({ spec }) => spec.relativeurl)).toEqual(["/cart"]);
    expect(fn.spec.requestsPerPod).toBe(100);
    expect(pkg.metadata.annotations?.["isotope.dev/entry"]).toBe("functions/a.ts");
    expect(desiredObjects("cart", { route: false }, source, target).triggers).toEqual([]);
  });

  it("keeps a route's object when other routes come before or after it", () => {
    const names = (route: string[]) =>
      new Map(
        desiredObjects("cart", { route }, source, target).triggers.map(({ metadata, spec }) => [
          spec.relativeurl,
          metadata.name,
        ]),
      );
    expect(names(["/x", "/a", "/b"]).get("/b")).toBe(names(["/x", "/b"]).get("/b"));
  });
});

describe("planObject", () => {
  const { package: pkg, function: fn } = desiredObjects("cart", {}, source, target);

  it("leaves what the build wrote, and notices what differs", () => {
    const built = { ...pkg, spec: { ...pkg.spec, deployment: { type: "url" as const, url: "x" } } };
    expect(planObject("Package", pkg, built).action).toBe("unchanged");
    expect(planObject("Function", fn, undefined).action).toBe("create");
    const changed = planObject("Function", fn, {
      ...fn,
      spec: { ...fn.spec, requestsPerPod: 1, functionTimeout: 5 },
    });
    expect(changed).toMatchObject({
      action: "update",
      changes: ["spec.requestsPerPod", "spec.functionTimeout"],
    });
  });
});

describe("deploymentProgress", () => {
  const wanted = desiredObjects("cart", {}, source, target);
  const condition = (type: string, status: "True" | "False", message = "", reason = "X") => ({
    type,
    status,
    reason,
    message,
    lastTransitionTime: "",
    observedGeneration: 1,
  });
  const pkg = { ...wanted.package, metadata: { ...wanted.package.metadata, generation: 1 } };

  it("waits for the package, the build, the function and its routes in turn", () => {
    expect(deploymentProgress(wanted, { package: undefined, function: undefined, triggers: [] })).toEqual({
      state: "waiting",
      what: "package",
    });
    expect(deploymentProgress(wanted, { package: pkg, function: undefined, triggers: [] })).toEqual({
      state: "waiting",
      what: "build",
    });
    const failed = {
      ...pkg,
      status: {
        buildstatus: "failed" as const,
        conditions: [condition("BuildSucceeded", "False", "a.ts:1:2: no")],
      },
    };
    expect(deploymentProgress(wanted, { package: failed, function: undefined, triggers: [] })).toEqual({
      state: "failed",
      why: "a.ts:1:2: no",
    });
    const built = { ...pkg, status: { buildstatus: "succeeded" as const, sourceDigest: source.digest } };
    expect(deploymentProgress(wanted, { package: built, function: undefined, triggers: [] })).toEqual({
      state: "waiting",
      what: "function",
    });
  });
});

describe("newLogText", () => {
  it.each([
    ["", "a\n", "a\n"],
    ["a\n", "a\nb\n", "b\n"],
    ["a\nb\n", "b\nc\n", "c\n"],
    ["a\n", "x\n", "x\n"],
  ])("after %j, %j brings %j", (seen, log, fresh) => {
    expect(newLogText(seen, log)).toBe(fresh);
  });
});

describe("workflows of a project", () => {
  const source = (config: string) =>
    `export const config = ${config};\nimport { defineWorkflow } from "@isotope/platform/workflows";\nexport default defineWorkflow({});\n`;

  it("lie in a folder of their own, and may have a function's name", async () => {
    const folder = project("orders", {
      "functions/order.ts": "export default () => new Response();",
      "workflows/order.ts": source('{ route: "/orders", wait: 10 }'),
      "workflows/on-board/index.ts": source('{ name: "onboarding", export: "flow" }'),
      "workflows/order.test.ts": "",
    });
    const found = findProject(folder);
    expect(found.workflows.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "workflow on-board",
      "workflow order",
    ]);
    const target = { namespace: "default", deployment: "orders" };
    const [onboarding, order] = await Promise.all(
      found.workflows.map((workflow) => prepareWorkflow(found, workflow, target)),
    );
    expect(order?.objects.package.metadata).toMatchObject({
      name: "workflow-order",
      annotations: { "isotope.dev/entry": "workflows/order.ts" },
    });
    expect(order?.objects.workflow).toMatchObject({
      kind: "Workflow",
      metadata: { name: "order", labels: { "isotope.dev/deployment": "orders" } },
      spec: { package: { namespace: "default", name: "workflow-order" } },
    });
    expect(order?.objects.triggers).toMatchObject([
      {
        metadata: { name: "workflow-order", annotations: { "isotope.dev/workflow-wait": "10s" } },
        spec: { relativeurl: "/orders", methods: ["POST"], functionref: { type: "workflow", name: "order" } },
      },
    ]);
    expect(onboarding?.objects.workflow).toMatchObject({
      metadata: { name: "onboarding" },
      spec: { export: "flow" },
    });
    expect(onboarding?.objects.triggers).toEqual([]);
  });

  it("are deployed alone when the folder holds no functions, or the file is named", () => {
    const folder = project("alone", { "workflows/order.ts": source("{}") });
    expect(findProject(folder)).toMatchObject({ functions: [], workflows: [{ name: "order" }] });
    expect(findProject(join(folder, "workflows/order.ts")).workflows).toMatchObject([{ name: "order" }]);
  });

  it("refuse what only a function can be told", async () => {
    const folder = project("wrong", { "workflows/order.ts": source('{ cron: "@daily" }') });
    const found = findProject(folder);
    await expect(
      prepareWorkflow(found, found.workflows[0]!, { namespace: "default", deployment: "x" }),
    ).rejects.toThrow(/Cannot use config at .*order\.ts:1:23: .*cron/);
  });
});
