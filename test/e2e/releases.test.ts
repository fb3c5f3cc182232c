import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { CANARY_CONFIGS, FUNCTION_ALIASES, FUNCTION_VERSIONS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy, writeProject } from "./project.ts";
import {
  decisionsOf,
  isotope as run,
  type Load,
  redeploy as deployAnew,
  says,
  startLoad as callAllTheTime,
} from "./releasing.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

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

const loads = new Set<Load>();
afterEach(async () => {
  await Promise.allSettled([...loads].map((load) => load.stop()));
  loads.clear();
});
const startLoad = async (path: string): Promise<Load> => {
  const load = await callAllTheTime(platform, path);
  loads.add(load);
  return load;
};

const text = async (path: string, init?: RequestInit): Promise<string> =>
  (await platform.get(path, init)).text();

/** Waits until all routers, of which each hears of a change by itself, give these answers and no others. */
const answered = (path: string, ...said: string[]): Promise<void> =>
  asserted(async () => {
    for (const router of await platform.routers()) {
      const calls = Array.from({ length: 20 }, async () => (await fetch(router + path)).text());
      expect(new Set(await Promise.all(calls))).toEqual(new Set(said));
    }
  });

const isotope = (...args: string[]): Promise<string> => run(platform, ...args);
const redeploy = (folder: string, name: string, code: string, ...args: string[]): Promise<string> =>
  deployAnew(platform, folder, name, code, ...args);

describe("versions and aliases", { timeout: 300_000 }, () => {
  let folder: string;

  it("a published version goes on answering while the function changes", async () => {
    folder = await deploy(platform, { "greet.ts": says("one", "/greet") });
    expect(await isotope("fn", "publish", "greet", "--description", "first", "--wait")).toContain(
      '"greet-v1" published',
    );
    expect(await isotope("fn", "publish", "greet")).toContain("nothing to publish");
    await redeploy(folder, "greet", says("two", "/greet"));
    await answered("/greet", "two");
    expect(await isotope("fn", "test", "greet", "--version", "greet-v1")).toBe("one");
    expect(await isotope("fn", "publish", "greet", "--wait")).toContain('"greet-v2" published');
    expect(await isotope("fn", "get", "greet", "--version", "greet-v1")).toContain("sequence: 1");
    const listed = await isotope("fn", "versions", "greet");
    expect(listed).toMatch(/greet-v2 .*\(latest\)[\s\S]*greet-v1 .*first/);
  });

  it("an alias splits exactly, and a route goes through it", async () => {
    const split = ["--version", "greet-v1", "--weight", "70", "--secondary-version", "greet-v2"];
    await isotope("alias", "create", "stable", "--function", "greet", ...split, "--wait");
    await isotope("route", "update", "greet", "--function-alias", "stable");
    await asserted(async () => {
      const { spec } = await kube.get(HTTP_TRIGGERS, { namespace: platform.namespace, name: "greet" });
      expect(spec.functionref.alias).toBe("stable");
    });
    await answered("/greet", "one", "two");
    const counts = { one: 0, two: 0 };
    for (let at = 0; at < 500; at++) counts[(await text("/greet")) as "one"] += 1;
    // Several routers each deal their own hundred: at most one hand of each is unfinished.
    expect(Math.abs(counts.one - 350)).toBeLessThanOrEqual(20);
    expect(counts.one + counts.two).toBe(500);
    expect(await isotope("fn", "test", "greet", "--alias", "stable")).toMatch(/^(one|two)$/);
  });

  it("who is sticky keeps their side while its weight grows", async () => {
    await isotope("alias", "update", "stable", "--weight", "90", "--sticky", "header:x-user");
    const sideOf = (user: number) => text("/greet", { headers: { "x-user": `user-${user}` } });
    const users = Array.from({ length: 60 }, (_, at) => at);
    const settled = async (): Promise<string[]> => {
      const [first, again] = [await Promise.all(users.map(sideOf)), await Promise.all(users.map(sideOf))];
      expect(again).toEqual(first);
      return first;
    };
    const before = await asserted(settled);
    await isotope("alias", "update", "stable", "--weight", "40", "--wait");
    const after = await asserted(async () => {
      const sides = await settled();
      expect(sides.filter((side) => side === "two").length).toBeGreaterThan(
        before.filter((side) => side === "two").length,
      );
      return sides;
    });
    for (const [at, side] of before.entries()) if (side === "two") expect(after[at]).toBe("two");
  });

  it("testers name a version by header or cookie where a route allows it", async () => {
    const named = (headers: Record<string, string>, router = platform.connection.routerUrl) =>
      fetch(`${router}/greet`, { headers });
    await isotope("alias", "update", "stable", "--clear-weight", "--wait");
    await answered("/greet", "one");
    expect(await (await named({ "x-isotope-version": "greet-v2" })).text()).toBe("one");
    await isotope("route", "update", "greet", "--preview");
    await asserted(async () => {
      for (const router of await platform.routers())
        expect(await (await named({ "x-isotope-version": "greet-v2" }, router)).text()).toBe("two");
    });
    expect(await (await named({ cookie: "a=b; isotope-version=greet-v2" })).text()).toBe("two");
    const unknown = await named({ "x-isotope-version": "greet-v9" });
    expect([unknown.status, await unknown.json()]).toEqual([
      404,
      expect.objectContaining({ reason: "version_not_found" }),
    ]);
  });

  it("rolls back without a failed request, and keeps what is needed", async () => {
    await isotope("alias", "update", "stable", "--version", "greet-v2", "--wait");
    const load = await startLoad("/greet");
    await asserted(async () => expect(load.answers.get("two")).toBeGreaterThan(20));
    const before = load.answers.get("one") ?? 0;
    expect(await isotope("fn", "rollback", "greet")).toContain('names "greet-v1" again');
    await answered("/greet", "one");
    await asserted(async () => expect(load.answers.get("one")).toBeGreaterThan(before));
    const answers = await load.stop();
    expect([...answers.keys()].toSorted()).toEqual(["one", "two"]);
    await isotope("fn", "gc-versions", "greet", "--keep", "1");
    const { items } = await kube.list(FUNCTION_VERSIONS, { namespace: platform.namespace });
    expect(items.map(({ metadata }) => metadata.name).toSorted()).toEqual(["greet-v1", "greet-v2"]);
  });

  it("a plain deploy leaves an alias of the user's alone and says so", async () => {
    const out = await redeploy(folder, "greet", says("three", "/greet"));
    expect(out).toContain('alias "stable", which stays at greet-v1');
    expect(await text("/greet")).toBe("one");
  });
});

describe("canaries", () => {
  const STEPS = ["--canary", "20%,50%", "--canary-interval", "1s", "--min-samples", "30"];

  it("a good one is promoted, and no request fails by it", async () => {
    const folder = await deploy(platform, { "good.ts": says("old", "/good") });
    expect(await text("/good")).toBe("old");
    const load = await startLoad("/good");
    const out = await redeploy(folder, "good", says("new", "/good"), ...STEPS, "--watch");
    expect(out).toContain("good-v2 is released against good-v1");
    await answered("/good", "new");
    const answers = await load.stop();
    expect([...answers.keys()].toSorted()).toEqual(["new", "old"]);
    const { spec } = await kube.get(FUNCTION_ALIASES, { namespace: platform.namespace, name: "good-live" });
    expect([spec.version, spec.weight ?? 100]).toEqual(["good-v2", 100]);
    const actions = (await decisionsOf(platform, "good")).map(({ action, weight }) => `${action} ${weight}`);
    expect(actions).toEqual(expect.arrayContaining(["weight 20", "weight 50", "promote 100"]));
    // Another deployment without a canary gets all traffic at once, by the same alias.
    expect(await redeploy(folder, "good", says("newer", "/good"))).toContain('"good-live" names good-v3 now');
    await answered("/good", "newer");
  }, 300_000);

  it("one that fails for some inputs is taken back with the evidence, and only its own requests failed", async () => {
    const folder = await deploy(platform, { "bad.ts": says("old", "/bad") });
    const load = await startLoad("/bad");
    const broken = says(
      "new",
      "/bad",
      'if (Math.random() < 0.3) return new Response("broken", { status: 500 });',
    );
    writeFileSync(join(folder, "functions", "bad.ts"), broken);
    const { code, out } = await platform.cli(["deploy", folder, ...STEPS, "--watch"]);
    expect([code, out]).toEqual([1, expect.stringContaining("rollback")]);
    await answered("/bad", "old");
    const answers = await load.stop();
    // Whatever failed was answered by the new version itself.
    for (const said of answers.keys()) if (said !== "old" && said !== "new") expect(said).toBe("500 broken");
    const last = (await decisionsOf(platform, "bad")).at(-1);
    expect(last).toMatchObject({
      action: "rollback",
      weight: 0,
      sentence: expect.stringContaining("bad-v2"),
    });
    const status = await isotope("release", "status", "bad");
    expect(status).toMatch(/bad {2}failed/);
    expect(await isotope("fn", "versions", "bad")).toMatch(/bad-v1 .*bad-live/);
  }, 300_000);

  it("one that takes three times as long is taken back, and no request fails by it", async () => {
    const takes = (ms: number) => `await new Promise((done) => setTimeout(done, ${ms}));`;
    const folder = await deploy(platform, { "slow.ts": says("old", "/slow-release", takes(20)) });
    const load = await startLoad("/slow-release");
    writeFileSync(join(folder, "functions", "slow.ts"), says("new", "/slow-release", takes(60)));
    // Latency is judged by stretches of time, of which there have to be some.
    const steps = ["--canary", "50%", "--canary-interval", "6s", "--min-samples", "100"];
    const { code, out } = await platform.cli(["deploy", folder, ...steps, "--watch"]);
    expect([code, out]).toEqual([1, expect.stringContaining("rollback")]);
    await answered("/slow-release", "old");
    const answers = await load.stop();
    expect([...answers.keys()].toSorted()).toEqual(["new", "old"]);
    expect((await decisionsOf(platform, "slow")).at(-1)).toMatchObject({
      action: "rollback",
      weight: 0,
      sentence: expect.stringMatching(/slow-v2 has a .* ms, slow-v1 .* ms/),
    });
  }, 300_000);

  it("one that nobody calls is held; it can be paused, resumed, aborted and tried again", async () => {
    const folder = await deploy(platform, { "silent.ts": says("old", "/silent-release") });
    await redeploy(folder, "silent", says("new", "/silent-release"), ...STEPS);
    const phaseOf = async () =>
      (await kube.get(CANARY_CONFIGS, { namespace: platform.namespace, name: "silent" })).status?.phase;
    await asserted(async () => expect(await phaseOf()).toBe("holding"));
    const { code, err } = await platform.cli([
      "deploy",
      writeProject(platform, { "silent.ts": says("x", "/silent-release") }),
    ]);
    expect([code, err]).toEqual([1, expect.stringContaining('release "silent" runs')]);
    expect(await isotope("release", "pause", "silent")).toContain("paused");
    expect((await platform.cli(["release", "retry", "silent"])).err).toContain("was not taken back: paused");
    await isotope("release", "resume");
    await asserted(async () => expect(await phaseOf()).not.toBe("paused"));
    expect(await isotope("release", "abort", "silent")).toContain("aborted");
    await answered("/silent-release", "old");
    await isotope("release", "retry", "silent");
    await asserted(async () => expect(await phaseOf()).toMatch(/progressing|holding/));
    expect(await isotope("release", "promote", "silent")).toContain("succeeded");
    await answered("/silent-release", "new");
  }, 300_000);

  it("what each router has served is counted once", async () => {
    const folder = await deploy(platform, { "counted.ts": says("old", "/counted-release") });
    expect(await text("/counted-release")).toBe("old");
    const few = ["--canary", "50%", "--canary-interval", "3s", "--min-samples", "100000"];
    await redeploy(folder, "counted", says("new", "/counted-release"), ...few);
    const status = async () =>
      (await kube.get(CANARY_CONFIGS, { namespace: platform.namespace, name: "counted" })).status;
    // Counting begins a moment after the weight is given, when all routers have it.
    await asserted(async () => expect((await status())?.phase).toBe("holding"));
    const routers = await platform.routers();
    expect(routers.length).toBeGreaterThanOrEqual(platform.installed ? 2 : 1);
    const callEach = async (times: number): Promise<void> => {
      for (const router of routers)
        for (let at = 0; at < times; at++) await (await fetch(`${router}/counted-release`)).text();
    };
    /** Requests of both sides: in the step, and in each router since it began. */
    const counted = async () => {
      const { counts, routers: read = [] } = (await status()) ?? {};
      const each = read.map((router) => [router.old?.requests ?? 0, router.new?.requests ?? 0]);
      return { step: [counts?.old.requests ?? 0, counts?.new.requests ?? 0], each };
    };
    // A version's first requests are no measure of it.
    await callEach(200);
    const before = await asserted(async () => {
      const now = await counted();
      expect(now.each.filter(([old = 0, next = 0]) => old >= 100 && next >= 100)).toHaveLength(
        routers.length,
      );
      return now;
    });
    await callEach(100);
    await asserted(async () => {
      const now = await counted();
      expect(now.step).toEqual(before.step.map((requests) => requests + 50 * routers.length));
      expect(now.each).toEqual(before.each.map((router) => router.map((requests) => requests + 50)));
    });
    // Stays under way: where the test has a namespace of its own, that goes all the same.
  }, 300_000);
});
