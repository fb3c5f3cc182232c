import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { InvocationView } from "../../api/wire/invocations.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { CONFIG_MAPS, PODS } from "../../kube/core.ts";
import { ENVIRONMENTS, KUBERNETES_WATCH_TRIGGERS, TIME_TRIGGERS, WORKFLOWS } from "../../kube/kinds.ts";
import { resourceType } from "../../kube/resource.ts";
import { hasRedis } from "../redis-server.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples/functions");
const example = (name: string): string => readFileSync(join(EXAMPLES, name), "utf8");
const COLD = ["cold-one", "cold-two", "cold-three"];
const COLD_CODE = `
export const config = { route: false };
const loadedAt = Date.now();
export default (request: Request) =>
  Response.json({ beforeMs: Date.parse(request.headers.get("x-fission-timer-scheduled-time") ?? "") - loadedAt });`;
const PATIENCE = { timeout: 90_000, interval: 200 };

let platform: TestPlatform;
let kube: KubeClient;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  await deploy(platform, {
    "echo.ts": `
export const config = { route: false, requestsPerPod: 100 };
export default async (request: Request) => Response.json({
  method: request.method,
  url: new URL(request.url).pathname + new URL(request.url).search,
  body: await request.text(),
  headers: Object.fromEntries(request.headers),
});`,
    "other.ts": `export const config = { route: false };
export default () => new Response("other");`,
    ...Object.fromEntries(COLD.map((name) => [`${name}.ts`, COLD_CODE])),
    "nightly-report.ts": example("nightly-report.ts"),
    "crash-alert.ts": example("crash-alert.ts"),
  });
  await allowWatching();
}, 240_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

/** What a service account needs on a cluster; a laptop has no roles. */
async function allowWatching(): Promise<void> {
  if (!onCluster) return;
  const { namespace } = platform;
  const rbac = "rbac.authorization.k8s.io/v1";
  const metadata = { namespace, name: "watch-pods" };
  await kube.create(resourceType(rbac, "Role", "roles"), {
    metadata,
    rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] }],
  } as never);
  await kube.create(resourceType(rbac, "RoleBinding", "rolebindings"), {
    metadata,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "watch-pods" },
    subjects: [{ kind: "ServiceAccount", namespace, name: "default" }],
  } as never);
}

async function cli(...args: string[]): Promise<string> {
  const { code, out, err } = await platform.cli(args);
  expect({ args, code, err }).toMatchObject({ code: 0 });
  return out;
}

interface Echo {
  method: string;
  url: string;
  body: string;
  headers: Record<string, string>;
}

/** Invocations that a trigger made, those that are done, the earliest first. */
async function done(source: string): Promise<InvocationView[]> {
  const { out } = await platform.cli([
    "invocation",
    "list",
    "--source",
    source,
    "--limit",
    "1000",
    "-o",
    "json",
  ]);
  const all = InvocationView.array().parse(JSON.parse(out || "[]"));
  return all
    .filter(({ status }) => status === "succeeded")
    .toSorted((a, b) => (a.acceptedAt < b.acceptedAt ? -1 : 1));
}
const atLeast = (source: string, count: number): Promise<InvocationView[]> =>
  vi.waitFor(async () => {
    const all = await done(source);
    expect(all.length).toBeGreaterThanOrEqual(count);
    return all;
  }, PATIENCE);
async function answer(invocation: InvocationView | undefined): Promise<string> {
  const shown = await cli("invocation", "get", invocation?.id ?? "", "-o", "json");
  return InvocationView.parse(JSON.parse(shown)).result?.body?.text ?? "";
}
const echoed = async (invocation: InvocationView | undefined): Promise<Echo> =>
  JSON.parse(await answer(invocation)) as Echo;

const timer = (name: string) => kube.get(TIME_TRIGGERS, { namespace: platform.namespace, name });
const watch = (name: string) => kube.get(KUBERNETES_WATCH_TRIGGERS, { namespace: platform.namespace, name });

describe.skipIf(!hasRedis && !onCluster)("timers", () => {
  it("call a function with method, path, headers and body; are suspended and resumed", async () => {
    await cli(
      "timer",
      "create",
      "--name",
      "tick",
      "--function",
      "echo",
      "--cron",
      "@every 1s",
      "--method",
      "PUT",
      "--subpath",
      "/sub?a=b",
      "--header",
      "X-Team: blue",
      "--body",
      '{"n":1}',
    );
    const [first] = await atLeast("timer/tick", 2);
    const got = await echoed(first);
    expect(got).toMatchObject({ method: "PUT", body: '{"n":1}' });
    expect(got.url).toMatch(/\/sub\?a=b$/);
    const made = Date.parse((await timer("tick")).metadata.creationTimestamp ?? "");
    expect(got.headers).toMatchObject({
      "x-team": "blue",
      "x-fission-timer-name": "tick",
      "ce-specversion": "1.0",
      "ce-type": "dev.isotope.timer.fired",
      "ce-id": expect.stringContaining("timer/") as string,
      "idempotency-key": expect.stringContaining(`${platform.namespace}/echo/timer/`) as string,
    });
    const sinceMadeMs = Date.parse(got.headers["x-fission-timer-scheduled-time"] ?? "") - made;
    expect(sinceMadeMs).toBeGreaterThan(0);
    expect(sinceMadeMs % 1_000).toBe(0);
    await vi.waitFor(async () => {
      const lines = (await cli("timer", "history", "tick")).split("\n");
      expect(lines.filter((line) => line.includes("to come"))).toHaveLength(10);
      expect(lines.filter((line) => line.includes("Fired")).length).toBeGreaterThan(1);
    }, PATIENCE);

    await cli("timer", "update", "tick", "--suspend");
    await vi.waitFor(async () => expect((await timer("tick")).status?.nextFires).toEqual([]), PATIENCE);
    expect(await cli("timer", "list", "--function", "echo")).toContain("suspended");
    const before = await vi.waitFor(async () => {
      const { recentFires: fires, lastScheduleTime } = (await timer("tick")).status ?? {};
      // Else the last fire is under way, and its call is accepted later than this.
      expect(fires?.[0]?.scheduledTime).toBe(lastScheduleTime);
      const all = await done("timer/tick");
      expect(all.at(-1)?.id).toBe(fires?.[0]?.invocationId);
      return all.length;
    }, PATIENCE);
    const resumedAt = Date.now();
    await cli("timer", "update", "tick", "--suspend=false");
    const resumed = (await atLeast("timer/tick", before + 1))[before];
    const scheduled = (await echoed(resumed)).headers["x-fission-timer-scheduled-time"] ?? "";
    // Nothing is made up for.
    expect(Date.parse(scheduled)).toBeGreaterThan(resumedAt - 1_000);
    await cli("timer", "delete", "tick");
  }, 300_000);

  it("go through an alias, by weights, or start runs of a workflow", async () => {
    await cli("fn", "publish", "--name", "echo");
    const version = (await cli("fn", "versions", "--name", "echo", "-o", "name")).trim().split("\n")[0] ?? "";
    await cli(
      "alias",
      "create",
      "--name",
      "live",
      "--function",
      "echo",
      "--version",
      version.replace(/^.*\//, ""),
    );
    await kube.create(WORKFLOWS, {
      apiVersion: API_GROUP_VERSION,
      kind: "Workflow",
      metadata: { namespace: platform.namespace, name: "cleanup" },
      spec: { startAt: "end", states: { end: { type: "Succeed" } } },
    } as never);
    const every = ["--cron", "@every 1s"];
    await cli(
      "timer",
      "create",
      "--name",
      "by-alias",
      "--function",
      "echo",
      "--function-alias",
      "live",
      ...every,
    );
    await cli(
      "timer",
      "create",
      "--name",
      "by-weight",
      "--function",
      "echo",
      "--function",
      "other",
      "--weight",
      "50",
      "--weight",
      "50",
      ...every,
    );
    await cli(
      "timer",
      "create",
      "--name",
      "by-run",
      "--workflow",
      "cleanup",
      "--body",
      '{"days":30}',
      ...every,
    );
    const [aliased] = await atLeast("timer/by-alias", 1);
    // The version is pinned when the call is accepted.
    expect(aliased?.target).toMatchObject({ name: "echo", version: version.replace(/^.*\//, "") });
    await vi.waitFor(async () => {
      const called = new Set((await done("timer/by-weight")).map(({ target }) => target.name));
      expect([...called].toSorted()).toEqual(["echo", "other"]);
    }, PATIENCE);
    const [run] = await atLeast("timer/by-run", 1);
    expect(run?.target).toMatchObject({ kind: "workflow", name: "cleanup" });
    // The invocation has succeeded once its run is started.
    await vi.waitFor(
      async () =>
        expect(await cli("workflow", "runs", "list", "--workflow", "cleanup")).toContain("succeeded"),
      PATIENCE,
    );
    for (const name of ["by-alias", "by-weight", "by-run"]) await cli("timer", "delete", name);
  }, 240_000);

  it("find their functions warm: they were loaded before the time came", async () => {
    // Each at times of its own: they do not wait for each other's pods.
    for (const [at, name] of COLD.entries())
      await cli("timer", "create", "--name", name, "--function", name, "--cron", `@every ${6 + 4 * at}s`);
    const calls = await Promise.all(COLD.map(async (name) => (await atLeast(`timer/${name}`, 1))[0]));
    const answers = await Promise.all(calls.map(answer));
    const beforeMs = answers.map((text) => (JSON.parse(text) as { beforeMs: number }).beforeMs);
    // On a busy machine one or the other may come too late.
    expect(Math.max(...beforeMs)).toBeGreaterThan(0);
    for (const name of COLD) await cli("timer", "delete", name);
  }, 180_000);

  it("the example nightly-report is of the day before its fire, once a night in Berlin", async () => {
    await vi.waitFor(async () => {
      const next = (await timer("nightly-report")).status?.nextFires ?? [];
      expect(next).toHaveLength(10);
      for (const time of next)
        expect(new Date(time).toLocaleTimeString("en-GB", { timeZone: "Europe/Berlin" })).toBe("02:30:00");
    }, PATIENCE);
    await cli(
      "timer",
      "create",
      "--name",
      "report-now",
      "--function",
      "nightly-report",
      "--cron",
      "@every 1s",
    );
    const [first] = await atLeast("timer/report-now", 1);
    await cli("timer", "delete", "report-now");
    const made = Date.parse(first?.acceptedAt ?? "");
    const days = [made, made - 5_000].map((at) => new Date(at - 86_400_000).toISOString().slice(0, 10));
    const report = JSON.parse(await answer(first)) as { day: string };
    expect(report).toMatchObject({ orders: 3, total: 60 });
    expect(days).toContain(report.day);
  }, 180_000);
});

describe.skipIf(!hasRedis && !onCluster)("watches", () => {
  const podOf = (name: string, labels: Record<string, string>, container: object) =>
    kube.create(PODS, {
      metadata: { namespace: platform.namespace, name, labels },
      spec: { containers: [{ name: "main", image: "none.invalid/none:1", ...container }] },
    });
  const pod = (name: string) => ({ namespace: platform.namespace, name });
  const told = async (source: string): Promise<string[]> => {
    const events = await Promise.all((await done(source)).map(echoed));
    return events
      .map(({ headers, body }) => ({
        type: headers["x-kubernetes-event-type"],
        object: JSON.parse(body) as { metadata: { name: string; resourceVersion: string } },
      }))
      .toSorted(
        (a, b) => Number(a.object.metadata.resourceVersion) - Number(b.object.metadata.resourceVersion),
      )
      .map(({ type, object }) => `${type} ${object.metadata.name}`);
  };

  it("tell a function of pods that selectors, event types and fields choose", async () => {
    await cli(
      "watch",
      "create",
      "--name",
      "staged",
      "--function",
      "echo",
      "--type",
      "pod",
      "--label",
      "app=watched",
      "--selector",
      "!hidden",
      "--event",
      "ADDED",
      "--event",
      "MODIFIED",
      "--field",
      "metadata.labels['stage']",
    );
    await cli("watch", "wait", "staged", "--for", "condition=Subscribed", "--timeout", "60s");
    await podOf("unwatched", { app: "other" }, {});
    await podOf("hidden", { app: "watched", hidden: "yes" }, {});
    await podOf("seen", { app: "watched", stage: "one" }, {});
    await kube.patch(PODS, pod("seen"), { metadata: { annotations: { nothing: "of interest" } } });
    await kube.patch(PODS, pod("seen"), { metadata: { labels: { stage: "two" } } });
    for (const name of ["seen", "unwatched", "hidden"])
      await kube.delete(PODS, pod(name), { gracePeriodSeconds: 0 });
    await podOf("last", { app: "watched" }, {});
    await kube.delete(PODS, pod("last"), { gracePeriodSeconds: 0 });
    await vi.waitFor(
      async () => expect(await told("watch/staged")).toEqual(["ADDED seen", "MODIFIED seen", "ADDED last"]),
      PATIENCE,
    );
    const headers = await Promise.all(
      (await done("watch/staged")).map(async (one) => (await echoed(one)).headers),
    );
    expect(headers.find((one) => one["x-kubernetes-event-type"] === "MODIFIED")).toMatchObject({
      "x-kubernetes-object-type": "Pod",
      "ce-specversion": "1.0",
      "ce-subject": "pods/seen",
      "content-type": "application/json",
    });
    // The end of the last pod is a change of no interest that may be waiting still when the third is accepted.
    await vi.waitFor(
      async () =>
        expect((await watch("staged")).status).toMatchObject({
          connected: true,
          // Where replicas share the watches of all tests, another may follow it by then, and counts from 0.
          accepted: onCluster ? (expect.any(Number) as number) : 3,
          lag: 0,
          lastEventTime: expect.any(String) as string,
        }),
      PATIENCE,
    );
    await cli("watch", "delete", "staged");
  }, 300_000);

  it("of objects that the service account may not see tell nothing but why", async () => {
    await cli(
      "watch",
      "create",
      "--name",
      "secrets",
      "--function",
      "echo",
      "--api-version",
      "v1",
      "--kind",
      "Secret",
      "--serviceaccount",
      "default",
    );
    await cli("watch", "wait", "secrets", "--for", "condition=Subscribed=False", "--timeout", "60s");
    const { status } = await watch("secrets");
    expect(status?.connected).toBe(false);
    expect(status?.lastError).toContain('Service account "default" of namespace');
    await cli("watch", "delete", "secrets");
  }, 120_000);

  it("the example crash-alert tells of a container that crashes again and again", async () => {
    await cli("watch", "wait", "crash-alert", "--for", "condition=Ready", "--timeout", "90s");
    const deno = await kube.get(ENVIRONMENTS, { namespace: platform.namespace, name: "deno" });
    const image = deno.spec.builder?.image ?? "";
    // A program of Node that cannot even begin, on a cluster and on a laptop.
    await podOf("crashes", {}, { image, env: [{ name: "NODE_OPTIONS", value: "--no-such-option" }] });
    const alerts = await vi.waitFor(async () => {
      const answers = await Promise.all((await done("watch/crash-alert")).map(answer));
      const found = answers.find((text) => text.includes("crashes again and again"));
      expect(found).toBeDefined();
      return found ?? "";
    }, PATIENCE);
    await kube.delete(PODS, pod("crashes"), { gracePeriodSeconds: 0 });
    expect(alerts).toContain(`${platform.namespace}/crashes: container main`);
  }, 240_000);

  it.skipIf(onCluster)(
    "and timers go on after a kill -9 of the control plane: nothing is missing, nothing comes twice",
    async () => {
      const every = ["--cron", "* * * * * *", "--catch-up", "all"];
      await cli("timer", "create", "--name", "steady", "--function", "echo", ...every);
      await cli(
        "watch",
        "create",
        "--name",
        "maps",
        "--function",
        "echo",
        "--api-version",
        "v1",
        "--kind",
        "ConfigMap",
        "--selector",
        "watched",
      );
      await cli("watch", "wait", "maps", "--for", "condition=Subscribed", "--timeout", "60s");
      const put = async (name: string): Promise<void> => {
        const metadata = { ...pod(name), labels: { watched: "yes" } };
        await vi.waitFor(() => kube.create(CONFIG_MAPS, { metadata, data: {} }), PATIENCE);
      };
      await put("before");
      await atLeast("watch/maps", 1);
      await atLeast("timer/steady", 2);
      await platform.crash("controller");
      await put("meanwhile");
      await vi.waitFor(() => kube.delete(CONFIG_MAPS, pod("before")), PATIENCE);
      await put("after");
      const expected = ["ADDED before", "ADDED meanwhile", "DELETED before", "ADDED after"];
      await vi.waitFor(
        async () => expect((await told("watch/maps")).toSorted()).toEqual(expected.toSorted()),
        PATIENCE,
      );
      const fires = await vi.waitFor(async () => {
        const times = (await Promise.all((await done("timer/steady")).map(echoed)))
          .map(({ headers }) => Date.parse(headers["x-fission-timer-scheduled-time"] ?? ""))
          .toSorted((a, b) => a - b);
        expect(times.length).toBeGreaterThan(8);
        // One may still be under way.
        expect(times.slice(0, 8)).toEqual(times.slice(0, 8).map((_, at) => (times[0] ?? 0) + at * 1_000));
        return times;
      }, PATIENCE);
      expect(new Set(fires).size).toBe(fires.length);
      expect((await done("watch/maps")).length).toBe(expected.length);
      for (const noun of ["timer", "watch"]) await cli(noun, "delete", noun === "timer" ? "steady" : "maps");
    },
    600_000,
  );
});
