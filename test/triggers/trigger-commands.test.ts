import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubernetesWatchTrigger, TimeTrigger } from "../../api/kinds/index.ts";
import { KUBERNETES_WATCH_TRIGGERS, MESSAGE_QUEUE_TRIGGERS, TIME_TRIGGERS } from "../../kube/kinds.ts";
import { type KubeServer, startKube } from "../controller/platform.ts";
import { type CliResult, runCli } from "../e2e/run-cli.ts";

let kube: KubeServer;
let home: string;
beforeAll(async () => {
  kube = await startKube();
  home = mkdtempSync(join(tmpdir(), "isotope-commands-"));
});
afterAll(async () => {
  await kube?.stop();
  rmSync(home, { recursive: true, force: true });
});

const cli = (...args: string[]): Promise<CliResult> =>
  runCli([...args, "--kubeconfig", kube.localkube.kubeconfigPath], { cwd: home });
async function ok(...args: string[]): Promise<string> {
  const result = await cli(...args);
  expect({ args, ...result }).toMatchObject({ code: 0 });
  return result.out;
}
const timerOf = (name: string): Promise<TimeTrigger> =>
  kube.client.get(TIME_TRIGGERS, { namespace: "default", name });
const watchOf = (name: string): Promise<KubernetesWatchTrigger> =>
  kube.client.get(KUBERNETES_WATCH_TRIGGERS, { namespace: "default", name });

/** Each is refused before anything is written: exit code 2, the flag, the value and what is allowed. */
async function refused(noun: string, cases: readonly (readonly [string[], string])[]): Promise<void> {
  for (const [args, message] of cases) {
    const result = await cli(noun, ...args);
    expect({ args, ...result }).toMatchObject({ code: 2, err: expect.stringContaining(message) as string });
  }
}

describe("isotope timer", () => {
  test("creates with every flag, changes some and leaves the others, deletes", async () => {
    await ok(
      "timer",
      "create",
      "--name",
      "full",
      "--function",
      "report",
      "--function-alias",
      "live",
      "--cron",
      "30 2 * * *",
      "--timezone",
      "Europe/Berlin",
      "--method",
      "put",
      "--subpath",
      "/a?b=c",
      "--header",
      "X-Team: blue",
      "-H",
      "Accept: text/plain",
      "--body",
      "{}",
      "--jitter",
      "30s",
      "--start",
      "2026-01-01T00:00:00Z",
      "--end",
      "2030-01-01T00:00:00Z",
      "--starting-deadline",
      "60",
      "--concurrency-policy",
      "Forbid",
      "--catch-up",
      "all",
      "--catch-up-limit",
      "5",
      "--suspend",
    );
    const { spec } = await timerOf("full");
    expect(spec).toEqual({
      cron: "30 2 * * *",
      timeZone: "Europe/Berlin",
      functionref: { type: "name", name: "report", alias: "live" },
      method: "PUT",
      subpath: "/a?b=c",
      headers: { "X-Team": "blue", Accept: "text/plain" },
      body: "{}",
      jitter: "30s",
      startTime: "2026-01-01T00:00:00Z",
      endTime: "2030-01-01T00:00:00Z",
      startingDeadlineSeconds: 60,
      concurrencyPolicy: "Forbid",
      catchUp: "all",
      catchUpLimit: 5,
      suspend: true,
    });
    await ok(
      "tt",
      "update",
      "--name",
      "full",
      "--suspend=false",
      "--cron",
      "@daily",
      "--workflow",
      "cleanup",
    );
    expect((await timerOf("full")).spec).toEqual({
      ...spec,
      suspend: false,
      cron: "@daily",
      functionref: { type: "workflow", name: "cleanup" },
    });
    expect(await ok("timetrigger", "get", "full")).toContain("workflow cleanup");
    expect(await ok("timer", "delete", "full")).toContain("deleted");
    expect((await cli("timer", "delete", "full")).code).toBe(1);
    await ok("timer", "delete", "full", "--ignorenotfound");
  });

  test("lists, waits, shows the latest fires and the next, writes specs", async () => {
    await ok("timer", "create", "--name", "shown", "--function", "report", "--cron", "@hourly");
    await ok(
      "timer",
      "create",
      "--name",
      "split",
      "--cron",
      "@daily",
      "--function",
      "a",
      "--function",
      "b",
      "--weight",
      "20",
      "--weight",
      "80",
    );
    const at = "2026-11-23T02:00:00Z";
    await kube.client.patchStatus(
      TIME_TRIGGERS,
      { namespace: "default", name: "shown" },
      {
        lastScheduleTime: at,
        nextFires: ["2026-11-23T03:00:00Z", "2026-11-23T04:00:00Z"],
        recentFires: [
          { scheduledTime: at, time: at, outcome: "Fired", invocationId: "abc" },
          { scheduledTime: "2026-11-23T01:00:00Z", time: at, outcome: "Missed", missed: 7 },
          { scheduledTime: "2026-11-22T18:00:00Z", time: at, outcome: "Skipped", message: "still ran" },
        ],
        conditions: [
          { type: "Ready", status: "True", reason: "Scheduled", message: "ok", lastTransitionTime: at },
        ],
      },
    );
    const history = (await ok("timer", "history", "shown")).trimEnd().split("\n");
    expect(history.map((line) => line.split(/ {2,}/).slice(0, 2).join(" "))).toEqual([
      "TIME OUTCOME",
      "2026-11-23T04:00:00Z to come",
      "2026-11-23T03:00:00Z to come",
      "2026-11-23T02:00:00Z Fired",
      "2026-11-23T01:00:00Z Missed (7)",
      "2026-11-22T18:00:00Z Skipped",
    ]);
    expect(history.join("\n")).toMatch(/abc|still ran/);
    const list = await ok("timer", "list");
    expect(list).toMatch(/shown +@hourly +report .* 2026-11-23T03:00:00Z/);
    expect(list).toMatch(/split +@daily +a:20,b:80/);
    expect(await ok("timer", "list", "--function", "b", "-o", "name")).toBe("timetriggers/split\n");
    await ok("timer", "wait", "--name", "shown", "--for", "condition=Ready", "--timeout", "20s");
    expect((await cli("timer", "history", "nobody")).err).toContain('"nobody"');
    const dry = await ok("timer", "create", "--name", "dry", "--function", "r", "--cron", "@daily", "--dry");
    expect(dry).toContain("kind: TimeTrigger");
    await ok("timer", "create", "--name", "saved", "--function", "r", "--cron", "@daily", "--spec");
    const specs = readdirSync(join(home, "specs")).map((file) =>
      readFileSync(join(home, "specs", file), "utf8"),
    );
    expect(specs.join()).toContain("name: saved");
    for (const name of ["dry", "saved"])
      expect(await kube.client.find(TIME_TRIGGERS, { namespace: "default", name })).toBeUndefined();
  });

  test("shows when a schedule comes due, in its zone, through a change of clocks", async () => {
    const out = await ok(
      "timer",
      "showschedule",
      "--cron",
      "30 2 * * *",
      "--timezone",
      "Europe/Berlin",
      "--start",
      "2027-03-27T00:00:00Z",
      "--round",
      "2",
    );
    expect(out).toContain("1: 2027-03-27T01:30:00.000Z (2027-03-27 02:30:00 Europe/Berlin)");
    // 02:30 does not exist on that day.
    expect(out).toContain("2: 2027-03-28T01:00:00.000Z (2027-03-28 03:00:00 Europe/Berlin)");
    expect(await ok("tt", "show", "--cron", "@every 90s", "--round", "3")).toMatch(/^3: /m);
  });

  test("refuses what cannot be", () =>
    refused("timer", [
      [["create", "--function", "r", "--cron", "61 * * * *"], "--cron must be five fields"],
      [["create", "--function", "r", "--cron", "61 * * * *"], 'got "61 * * * *"'],
      [["create", "--function", "r"], "--cron is required"],
      [["create", "--cron", "@daily"], "--function is required"],
      [
        ["create", "--function", "r", "--cron", "@daily", "--timezone", "Mars/Base"],
        '--timezone must be an IANA time zone such as "Europe/Berlin", got "Mars/Base"',
      ],
      [["create", "--function", "r", "--cron", "@daily", "--start", "soon"], "--start must be a time"],
      [
        ["create", "--function", "r", "--cron", "@daily", "--concurrency-policy", "No"],
        '"Allow", "Forbid", "Replace", got "No"',
      ],
      [["create", "--function", "r", "--cron", "@daily", "--catch-up-limit", "0"], "--catch-up-limit"],
      [["create", "--function", "r", "--cron", "@daily", "--method", "FETCH"], "FETCH"],
      [["create", "--function", "r", "--cron", "@daily", "--header", "nothing"], 'got "nothing"'],
      [["create", "--function", "r", "--cron", "@daily", "--workflow", "w"], "exclude each other"],
      [["showschedule", "--cron", "@every 10ms"], "at least 1s"],
    ]));
});

describe("isotope watch", () => {
  test("creates with every flag, changes what is watched and leaves the rest, deletes", async () => {
    await ok(
      "watch",
      "create",
      "--name",
      "full",
      "--function",
      "on-deploy",
      "--api-version",
      "apps/v1",
      "--kind",
      "Deployment",
      "--label",
      "tier=web",
      "--selector",
      "!hidden",
      "--event",
      "added,MODIFIED",
      "--field",
      "status.replicas",
      "--field",
      "spec.replicas",
      "--include-existing",
      "--field-selector",
      "metadata.name=web",
      "--serviceaccount",
      "watcher",
    );
    const { spec } = await watchOf("full");
    expect(spec).toEqual({
      namespace: "default",
      apiVersion: "apps/v1",
      kind: "Deployment",
      labelselector: { tier: "web" },
      selector: "!hidden",
      fieldselector: "metadata.name=web",
      events: ["ADDED", "MODIFIED"],
      fields: ["status.replicas", "spec.replicas"],
      includeExisting: true,
      serviceAccount: "watcher",
      functionref: { type: "name", name: "on-deploy" },
    });
    await ok("w", "update", "full", "--type", "pod", "--field", "status.phase", "--function", "on-pod");
    const { kind: _kind, apiVersion: _apiVersion, ...rest } = spec;
    expect((await watchOf("full")).spec).toEqual({
      ...rest,
      type: "POD",
      fields: ["status.phase"],
      functionref: { type: "name", name: "on-pod" },
    });
    await ok("watch", "update", "full", "--event", "deleted", "--workflow", "cleanup");
    expect((await watchOf("full")).spec).toMatchObject({
      type: "POD",
      events: ["DELETED"],
      functionref: { type: "workflow", name: "cleanup" },
    });
    await ok("watch", "delete", "full");
    expect((await cli("watch", "update", "full", "--type", "job")).err).toContain('"full"');
  });

  test("lists whether it is connected, waits, deletes those of a function", async () => {
    for (const name of ["one", "two"]) await ok("watch", "create", "--name", name, "--function", "on-pod");
    expect((await watchOf("one")).spec.type).toBe("POD");
    const at = "2026-11-23T02:00:00Z";
    const condition = (status: string, reason: string) => ({
      type: "Subscribed",
      status,
      reason,
      message: "",
      lastTransitionTime: at,
    });
    const ref = (name: string) => ({ namespace: "default", name });
    await kube.client.patchStatus(KUBERNETES_WATCH_TRIGGERS, ref("one"), {
      connected: true,
      lag: 3,
      conditions: [condition("True", "Watching")],
    });
    await kube.client.patchStatus(KUBERNETES_WATCH_TRIGGERS, ref("two"), {
      connected: false,
      conditions: [condition("False", "AccessDenied")],
    });
    const list = await ok("watch", "list", "-o", "wide");
    expect(list).toMatch(/one +pod +on-pod +yes +3/);
    expect(list).toMatch(/two +pod +on-pod +AccessDenied/);
    await ok("watch", "wait", "one", "--for", "condition=Subscribed", "--timeout", "20s");
    await ok("watch", "wait", "two", "--for", "condition=Subscribed=False", "--timeout", "20s");
    await ok("watch", "delete", "--function", "on-pod");
    expect((await kube.client.list(KUBERNETES_WATCH_TRIGGERS)).items).toEqual([]);
  });

  test("refuses what cannot be", () =>
    refused("watch", [
      [["create", "--type", "pod"], "--function is required"],
      [
        ["create", "--function", "f", "--type", "cat"],
        '--type must be one of pod, service, replicationcontroller, job, got "cat"',
      ],
      [["create", "--function", "f", "--kind", "Cat"], "--kind and --api-version go together"],
      [
        ["create", "--function", "f", "--event", "ADDED,MODIFED"],
        '--event must be one of "ADDED", "MODIFIED", "DELETED", got "MODIFED"; did you mean "MODIFIED"?',
      ],
      [["create", "--function", "f", "--field", "spec..x["], "--field must be a path such as status.phase"],
      [["create", "--function", "f", "--label", "tier"], "--label"],
      [["delete"], "either --name or --function is required"],
    ]));
});

describe("isotope mqtrigger", () => {
  const kafka = ["create", "--function", "f", "--mqtype", "kafka", "--topic", "t"];

  test("takes lists as values, changes, and says in one line why a trigger is not ready", async () => {
    await ok(
      "mqt",
      ...kafka,
      "--name",
      "brokers",
      "--metadata",
      "bootstrapServers=a:9092,b:9092,ordering=key",
    );
    const ref = { namespace: "default", name: "brokers" };
    const metadata = { bootstrapServers: "a:9092,b:9092", ordering: "key" };
    expect((await kube.client.get(MESSAGE_QUEUE_TRIGGERS, ref)).spec).toMatchObject({ metadata });
    expect(await ok("mqt", "update", "brokers", "--metadata", "batchSize=10")).toBe(
      'messagequeuetrigger "brokers" updated\n',
    );
    expect((await kube.client.get(MESSAGE_QUEUE_TRIGGERS, ref)).spec.metadata).toEqual({
      ...metadata,
      batchSize: "10",
    });
    const lastTransitionTime = "2026-11-23T02:00:00Z";
    const message = "the broker\n  cannot be reached";
    await kube.client.patchStatus(MESSAGE_QUEUE_TRIGGERS, ref, {
      lastError: message,
      conditions: [{ type: "Ready", status: "False", reason: "NotConnected", message, lastTransitionTime }],
    });
    const list = await ok("mqt", "list", "-o", "wide");
    expect(list.trimEnd().split("\n")).toHaveLength(2);
    expect(list).toMatch(
      /the broker cannot be reached +False +\w+ +NotConnected: the broker cannot be reached$/m,
    );
    await ok("mqt", "delete", "brokers");
  });

  test("refuses what cannot be", () =>
    refused("mqt", [
      [["create", "--topic", "t"], "--function is required"],
      [["create", "--function", "f", "--mqtype", "kafka"], "--topic is required"],
      [
        ["create", "--function", "f", "--topic", "t", "--mqtype", "kafak"],
        'got "kafak"; did you mean "kafka"?',
      ],
      [
        ["create", "--function", "f", "--topic", "t", "--mqtype", "stan"],
        'use --mqtype "nats-jetstream" with --metadata',
      ],
      [["create", "--function", "f", "--topic", "t"], '"bootstrapServers" is required'],
      [["create", "--function", "f", "--topic", "t"], "(--mqtype kafka)"],
      [
        [...kafka, "--metadata", "bootstrapServer=a:9092"],
        '--metadata has unknown "bootstrapServer": allowed are bootstrapServers,',
      ],
      [[...kafka, "--metadata", "bootstrapServer=a:9092"], '; did you mean "bootstrapServers"?'],
      [[...kafka, "--metadata", "a:9092"], '--metadata must be key=value, got "a:9092"'],
      [
        ["create", "--function", "f", "--mqtype", "redis-streams", "--topic", "a b"],
        '--topic must be 1..249 characters of A-Z a-z 0-9 . _ -, got "a b"',
      ],
      [
        ["create", "--function", "f", "--mqtype", "statestore", "--topic", "a", "--resptopic", "b/c"],
        "--resptopic must be 1..249 characters",
      ],
      [
        [...kafka, "--metadata", "bootstrapServers=a:1", "--resptopic", "t"],
        '--resptopic must differ from --topic "t"',
      ],
      [[...kafka, "--maxretries", "-1"], "--maxretries must be 0..1000"],
    ]));
});
