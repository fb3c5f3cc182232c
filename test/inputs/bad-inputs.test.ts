import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { KINDS } from "../../api/kinds/index.ts";
import { LABEL_POD_STATE } from "../../api/names.ts";
import { OpsStatus } from "../../api/wire/ops.ts";
import { PodHealth } from "../../api/wire/pod.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { loadKubeConnection } from "../../kube/connection.ts";
import { platformType } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import { type RawZipEntry, rawZip } from "../archives/hostile-archives.ts";
import { startTestPlatform } from "../e2e/platform.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";
import { deploy } from "../e2e/project.ts";
import { BAD_COMMANDS } from "./bad-commands.ts";
import { expectSays, refusedObjects } from "./refused-objects.ts";
import { BAD_REQUESTS, type Targets, targetsOf } from "./bad-requests.ts";

/*
 * Everything that the platform must refuse, sent to one running platform. Each row has the error that is documented for it; after all
 * of them the platform holds exactly what it held before, and works.
 */

interface Pod extends KubeObject {
  status?: { podIP?: string };
}
const PODS = resourceType<Pod>("v1", "Pod", "pods");

let platform: TestPlatform;
let kube: KubeClient;
let targets: Targets;
let before: Awaited<ReturnType<typeof holdings>>;
let bearer: string;

/** What users own: all objects of the platform's kinds, secrets, config maps and archives. */
async function holdings(): Promise<{ objects: unknown; archives: unknown }> {
  const types = [
    ...KINDS.map((kind) => platformType(kind)),
    resourceType("v1", "Secret", "secrets"),
    resourceType("v1", "ConfigMap", "configmaps"),
    resourceType("v1", "Namespace", "namespaces"),
  ];
  const lists = await Promise.all(types.map((type) => kube.list(type)));
  const objects = lists.flatMap(({ items }, at) =>
    items.map((object) => ({
      kind: types[at]?.kind,
      uid: object.metadata.uid,
      generation: object.metadata.generation,
      labels: object.metadata.labels,
      spec: JSON.stringify(Reflect.get(object, "spec") ?? Reflect.get(object, "data")),
    })),
  );
  const archives = await fetch(`${platform.connection.opsUrl}/v1/archive?details=true`, {
    headers: { authorization: bearer },
  });
  return { objects, archives: await archives.json() };
}

// Its pod stays: another would take a generic one of the pool, maybe the one that is called as such.
const HELLO = `export const config = { route: "/hello", idleTimeout: 3600 };\nexport default () => new Response("hello");`;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  bearer =
    (await (await loadKubeConnection({ kubeconfig: platform.connection.kubeconfig })).authorization()) ?? "";
  await deploy(platform, {
    "hello.ts": HELLO,
    "only-get.ts": `export const config = { methods: ["GET"] };\nexport default () => new Response("got");`,
  });
  expect(await (await platform.get("/hello")).text()).toBe("hello");
  const generic = await vi.waitFor(
    async () => {
      const { items } = await kube.list(PODS, {
        namespace: "default",
        labelSelector: `${LABEL_POD_STATE}=generic`,
      });
      // The label comes after the claim: the pod itself knows what it is.
      for (const { metadata, status } of items) {
        if (!status?.podIP) continue;
        const health = await fetch(`http://${status.podIP}:8888/_isotope/healthz`);
        if (PodHealth.parse(await health.json()).state === "generic")
          return { name: metadata.name, uid: metadata.uid ?? "", ip: status.podIP };
      }
      throw new Error("No generic pod is ready");
    },
    { timeout: 90_000, interval: 100 },
  );
  targets = targetsOf(platform, bearer, { namespace: "default", ...generic });
  before = await holdings();
}, 300_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

refusedObjects(() => ({ kube, namespace: "default" }));

describe("the CLI refuses", () => {
  it.each(
    BAD_COMMANDS.map(
      (row) =>
        [
          row.args.join(" ").slice(0, 60),
          Object.values(row.files ?? {})
            .at(-1)
            ?.slice(0, 70) ?? "",
          row,
        ] as const,
    ),
  )("%s %s", async (_args, _file, row) => {
    const cwd = mkdtempSync(join(platform.home, "cli-"));
    const files = row.files ?? { "x.ts": HELLO, "hello.ts": HELLO };
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(cwd, name)), { recursive: true });
      writeFileSync(join(cwd, name), content);
    }
    // A flag without its value would swallow what the platform's own `cli` adds.
    const bare = row.args.at(-1) === "--name" || row.args.includes("--kubeconfig");
    const { code, out, err } = await (bare ? runBare(row.args, cwd) : platform.cli([...row.args], { cwd }));
    expectSays(out + err, row.says);
    expect(code).toBe(row.code);
  });
});

async function runBare(args: readonly string[], cwd: string) {
  const { runCli } = await import("../e2e/run-cli.ts");
  return await runCli([...args], { cwd });
}

describe("over HTTP it refuses", () => {
  it.each(BAD_REQUESTS.map((row) => [row.name, row] as const))("%s", async (_name, row) => {
    const answer = await row.send(targets);
    expect(answer.status, answer.text.slice(0, 500)).toBe(row.status);
    expectSays(answer.text, row.says);
  });
});

describe("after all that was refused", () => {
  // What was made to be changed, and is deleted, may have a finalizer.
  it("nothing has changed", async () =>
    vi.waitFor(async () => expect(await holdings()).toEqual(before), { timeout: 60_000, interval: 200 }));
});

interface BadCode {
  readonly name: string;
  readonly code: string | Buffer;
  readonly entry?: string;
  readonly specializationTimeout?: number;
  readonly sum?: string;
  /** Status and code of a call; or the reason of the function's Ready condition when it never gets so far. */
  readonly answer: readonly [number, string] | { readonly reason: string };
  /** What the function's log (or the condition) holds; nothing where the code never came to say it. */
  readonly says?: string | RegExp;
}

const GOOD = "export default () => new Response('x');";
const index: RawZipEntry = { name: "index.js", content: GOOD };
const archive = (name: string, entries: readonly RawZipEntry[], says: string | RegExp): BadCode => ({
  name: `archive: ${name}`,
  code: rawZip(entries),
  answer: [502, "specialization_failed"],
  says,
});

const BAD_CODE: readonly BadCode[] = [
  archive("path out of its folder", [index, { name: "../../escape.js", content: "x" }], /escape\.js/),
  archive("absolute path", [index, { name: "/tmp/escape.js", content: "x" }], /escape\.js/),
  archive("backslashes", [index, { name: "..\\escape.js", content: "x" }], /escape\.js/),
  archive("symbolic link", [index, { name: "link", content: "/etc/passwd", mode: 0o120777 }], /link/),
  archive("device", [index, { name: "dev", mode: 0o020666 }], /dev/),
  archive("the same name twice", [index, index], /index\.js/),
  archive("names that differ in case", [index, { name: "INDEX.js", content: "x" }], /INDEX\.js/i),
  archive("another name in the local header", [{ ...index, local: { name: "evil.js" } }], /./),
  archive("encrypted", [{ ...index, method: 8, flags: 0x801 }], /encrypt/i),
  archive(
    "bomb",
    [index, { name: "zeros", method: 8, content: Buffer.alloc(80 * 2 ** 20) }],
    /zeros|ratio|times/i,
  ),
  archive("empty", [], "which the archive does not have"),
  {
    name: "bytes that are no code",
    code: Buffer.from([0xff, 0xfe, 0, 1]),
    answer: [502, "specialization_failed"],
    says: /./,
  },
  {
    name: "syntax error",
    code: "export default () => {",
    answer: [502, "specialization_failed"],
    says: /SyntaxError|Unexpected|Expected/i,
  },
  {
    name: "a module that throws",
    code: "throw new TypeError('at load')",
    answer: [502, "specialization_failed"],
    says: "at load",
  },
  {
    name: "no handler",
    code: "export const x = 1;",
    answer: [502, "specialization_failed"],
    says: /handler|default/,
  },
  {
    name: "an entry that is not there",
    code: GOOD,
    entry: ".missing",
    answer: [502, "specialization_failed"],
    says: "missing",
  },
  {
    name: "a file that is not there",
    code: rawZip([index]),
    entry: "other",
    answer: [502, "specialization_failed"],
    says: "other",
  },
  {
    name: "an endless loop at the top",
    code: "for (;;) {}",
    specializationTimeout: 1,
    answer: [504, "specialization_timeout"],
  },
  {
    name: "an await that never ends at the top",
    code: "await new Promise(() => {}); export default () => new Response('x');",
    specializationTimeout: 1,
    answer: [504, "specialization_timeout"],
  },
  {
    name: "another checksum",
    code: GOOD,
    sum: "0".repeat(64),
    answer: { reason: "InvalidArchive" },
    says: "0".repeat(64),
  },
];

describe("code that cannot be loaded is said to be so", { timeout: 240_000 }, () => {
  it.each(BAD_CODE.map((row, at) => [row.name, at, row] as const))("%s", async (_name, at, row) => {
    const name = `bad-${at}`;
    const environment = { namespace: "default", name: "deno" };
    const literal = Buffer.from(row.code).toString("base64");
    const sum = row.sum ?? createHash("sha256").update(row.code).digest("hex");
    const metadata = { name, namespace: "default" };
    const [functions, packages] = ["Function", "Package"].map((kind) => {
      const definition = KINDS.find((candidate) => candidate.kind === kind);
      if (!definition) throw new Error(kind);
      return platformType(definition);
    });
    if (!functions || !packages) throw new Error("no such kinds");
    await kube.create(packages, {
      apiVersion: "fission.io/v1",
      kind: "Package",
      metadata,
      spec: { environment, deployment: { type: "literal", literal, checksum: { type: "sha256", sum } } },
    });
    await kube.create(functions, {
      apiVersion: "fission.io/v1",
      kind: "Function",
      metadata,
      spec: {
        environment,
        package: { packageref: metadata, functionName: row.entry ?? "" },
        InvokeStrategy: {
          StrategyType: "execution",
          ExecutionStrategy: { SpecializationTimeout: row.specializationTimeout ?? 20 },
        },
      },
    });
    try {
      const condition = await vi.waitFor(
        async () => {
          const { status } = await kube.get(functions, metadata);
          const ready = status?.conditions?.find(({ type }) => type === "Ready");
          const building = ready?.reason === "PackageBuilding" || ready?.reason === "PackageNotFound";
          if (!ready || building) throw new Error(`Not reconciled: ${ready?.reason}`);
          return ready;
        },
        { timeout: 60_000, interval: 20 },
      );
      if ("reason" in row.answer) {
        expect([condition.status, condition.reason]).toEqual(["False", row.answer.reason]);
        expectSays(condition.message, row.says === undefined ? [] : [row.says]);
        return;
      }
      const call = await vi.waitFor(
        async () => {
          const reply = await fetch(`${targets.ops}/v1/invoke/default/${name}`, {
            headers: { authorization: bearer },
          });
          const body = await reply.json();
          // The router learns of the function a moment after it was made.
          if (reply.status === 404) throw new Error(JSON.stringify(body));
          return { status: reply.status, body };
        },
        { timeout: 60_000, interval: 50 },
      );
      expect([call.status, Reflect.get(call.body as object, "reason")]).toEqual(row.answer);
      const { says } = row;
      if (says === undefined) return;
      // What is wrong stands in the log of the function, for its author.
      await vi.waitFor(
        async () =>
          expectSays((await platform.cli(["fn", "logs", name, "--recordcount", "100"])).out, [says]),
        { timeout: 60_000, interval: 100 },
      );
    } finally {
      await kube.delete(functions, metadata);
      await kube.delete(packages, metadata);
    }
  });
});

describe("after all that", () => {
  it("no object is left, everything is up, and hello answers", async () => {
    // Archives that no package names any more stay until they are pruned.
    await vi.waitFor(async () => expect((await holdings()).objects).toEqual(before.objects), {
      timeout: 30_000,
      interval: 200,
    });
    expect(await (await platform.get("/hello")).text()).toBe("hello");
    // The operations API has its own copy of the objects, which may be a moment behind.
    await vi.waitFor(
      async () => {
        const reply = await fetch(`${targets.ops}/v1/status`, { headers: { authorization: bearer } });
        const status = OpsStatus.parse(await reply.json());
        expect(status.components.filter((component) => component.status !== "up")).toEqual([]);
        expect(status.problems).toEqual([]);
      },
      { timeout: 30_000, interval: 200 },
    );
    expect(platform.supervisor.exitCode).toBeNull();
  });
});
