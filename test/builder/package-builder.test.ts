import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PODS } from "../../kube/core.ts";
import { ENVIRONMENTS } from "../../kube/kinds.ts";
import { type BuilderWorld, builderWorld, inputOf } from "./builder-world.ts";
import { filesOf } from "./build-source.ts";

let world: BuilderWorld;
beforeAll(async () => {
  world = await builderWorld();
});
afterAll(() => world?.stop());

const hello = `export default () => new Response("hello");`;
const withPackage = `import x from "npm:some-package@1"; export default () => new Response(x);`;
const INSTALL = `mkdir -p node_modules/some-package && echo '{"name":"some-package","version":"1.0.0","main":"i.js"}' > node_modules/some-package/package.json && echo 'module.exports = "installed"' > node_modules/some-package/i.js`;
const hooks = (log: string[] = [], signal: AbortSignal = new AbortController().signal) => ({
  onLog: (line: string) => void log.push(line),
  signal,
});

/** A process that nobody has waited for yet is over all the same. */
function isRunning(pid: string): boolean {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    return line.slice(line.lastIndexOf(")") + 2, line.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

describe("building in pods", () => {
  test("builds, streams the log, keeps its pod for the next build, and adopts it after a restart", async () => {
    const environment = await world.addEnvironment("plain", "isotope/builder");
    const log: string[] = [];
    const built = await world.builder.build(inputOf(environment, hello), hooks(log));
    expect(built).toMatchObject({ outcome: "succeeded" });
    if (built.outcome === "succeeded")
      expect([...(await filesOf(built.artifact)).keys()]).toEqual(["index.js", "index.js.map"]);
    expect(log.join("\n")).toMatch(/waiting for builder pod plain-builder-[\s\S]*built 1 modules/);
    const [pod] = await world.pods();
    expect(await world.builder.build(inputOf(environment, hello), hooks())).toEqual(built);
    expect(await world.another().build(inputOf(environment, hello), hooks())).toEqual(built);
    expect((await world.pods()).map(({ metadata }) => metadata.uid)).toEqual([pod?.metadata.uid]);
  });
  test("a source that does not build is the user's fault and is not tried again", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    const log: string[] = [];
    const built = await world.builder.build(inputOf(environment, "export default ("), hooks(log));
    expect(built).toEqual({
      outcome: "failed",
      fault: "user",
      message: "hello.ts:1:17: Unexpected end of file",
    });
    expect(log.filter((line) => line.startsWith("error:"))).toHaveLength(1);
  });
  test("a builder killed in the middle of a build: the build is done by a fresh pod", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    const started = join(world.folder, "started");
    world.setNpm(`if [ ! -e ${started} ]; then touch ${started}; exec sleep 60; fi; ${INSTALL}`);
    const [before] = await world.pods();
    const log: string[] = [];
    const building = world.builder.build(inputOf(environment, withPackage), hooks(log));
    await expect.poll(() => existsSync(started), { timeout: 30_000 }).toBe(true);
    if (!before) throw new Error("no pod");
    const [server] = world.processesOf(before);
    process.kill(server ?? 0, "SIGKILL");
    expect(await building).toMatchObject({ outcome: "succeeded" });
    expect(log.join("\n")).toMatch(/gave no result .*; trying again on another builder pod \(2 of 3\)/);
    const after = await world.pods();
    expect(after).toHaveLength(1);
    expect(after[0]?.metadata.uid).not.toBe(before.metadata.uid);
  });
  test("a cancelled build ends its processes, and the pod goes on", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    const pidFile = join(world.folder, "npm-pid");
    world.setNpm(`echo $$ > ${pidFile}; exec sleep 60`);
    const cancel = new AbortController();
    const building = world.builder.build(
      inputOf(environment, withPackage.replace("@1", "@2")),
      hooks([], cancel.signal),
    );
    await expect
      .poll(() => existsSync(pidFile) && readFileSync(pidFile, "utf8") !== "", { timeout: 30_000 })
      .toBe(true);
    cancel.abort(new Error("not wanted any more"));
    await expect(building).rejects.toThrow(/not wanted any more|abort/);
    await expect.poll(() => isRunning(readFileSync(pidFile, "utf8").trim()), { timeout: 30_000 }).toBe(false);
    expect(await world.builder.build(inputOf(environment, hello), hooks())).toMatchObject({
      outcome: "succeeded",
    });
    const [pod] = await world.pods();
    expect(pod?.status?.containerStatuses?.[0]?.restartCount).toBe(0);
  });
  test("a build over its time limit is stopped", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    world.setNpm("exec sleep 60");
    const built = await world
      .another({ buildTimeoutMs: 800 })
      .build(inputOf(environment, withPackage.replace("@1", "@3")), hooks());
    expect(built).toEqual({
      outcome: "failed",
      fault: "user",
      message: "The build took longer than 800 ms and was stopped",
    });
  });
  test("trouble with the registry is the platform's", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    world.setNpm(
      `echo '{"error":{"code":"ENOTFOUND","summary":"request to https://user:secret@registry.example failed"}}'; exit 1`,
    );
    const log: string[] = [];
    const built = await world.builder.build(
      inputOf(environment, withPackage.replace("@1", "@4")),
      hooks(log),
    );
    expect(built).toMatchObject({
      outcome: "failed",
      fault: "platform",
      message: expect.stringContaining("ENOTFOUND"),
    });
    expect(JSON.stringify([built, log])).not.toContain("secret");
  });
  test("a package that does not exist is the user's", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    world.setNpm(`echo '{"error":{"code":"E404","summary":"Not Found - some-package@5"}}'; exit 1`);
    const built = await world.builder.build(inputOf(environment, withPackage.replace("@1", "@5")), hooks());
    expect(built).toMatchObject({
      outcome: "failed",
      fault: "user",
      message: "Cannot install packages: E404: Not Found - some-package@5",
    });
  });
  test("the token is in no process that builds", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    const seen = join(world.folder, "seen-env");
    world.setNpm(`env > ${seen}; ${INSTALL}`);
    expect(
      await world.builder.build(inputOf(environment, withPackage.replace("@1", "@6")), hooks()),
    ).toMatchObject({ outcome: "succeeded" });
    expect(readFileSync(seen, "utf8")).not.toMatch(/ISOTOPE_|TOKEN/);
  });
  test("another builder image means another pod; the old one goes", async () => {
    const [before] = await world.pods();
    const environment = await world.client.patch(
      ENVIRONMENTS,
      { namespace: "default", name: "plain" },
      { spec: { builder: { image: "isotope/builder:2" } } },
    );
    expect(await world.builder.build(inputOf(environment, hello), hooks())).toMatchObject({
      outcome: "succeeded",
    });
    const after = await world.pods();
    expect(after).toHaveLength(1);
    expect(after[0]?.metadata.uid).not.toBe(before?.metadata.uid);
  });
  test("an idle pod goes, and comes back with the next build", async () => {
    const environment = await world.client.get(ENVIRONMENTS, { namespace: "default", name: "plain" });
    const builder = world.another({ idlePodMs: 200 });
    expect(await builder.build(inputOf(environment, hello), hooks())).toMatchObject({ outcome: "succeeded" });
    await expect.poll(() => world.pods(), { timeout: 30_000 }).toEqual([]);
    expect(await builder.build(inputOf(environment, hello), hooks())).toMatchObject({ outcome: "succeeded" });
  });
});

describe("environments that cannot build", () => {
  test.each([["no-builder", undefined, /^Environment "no-builder" has no builder/]])(
    "%s",
    async (name, image, message) => {
      const environment = await world.addEnvironment(name, image);
      const built = await world.builder.build(inputOf(environment, hello), hooks());
      expect(built).toMatchObject({
        outcome: "failed",
        fault: "user",
        message: expect.stringMatching(message),
      });
      expect(
        (
          await world.client.list(PODS, {
            namespace: "default",
            labelSelector: `isotope.dev/environment=${name}`,
          })
        ).items,
      ).toEqual([]);
    },
  );
  test("an image that cannot be pulled says so", async () => {
    const environment = await world.addEnvironment("unpullable", "registry.example/isotope/builder:9");
    const built = await world.builder.build(inputOf(environment, hello), hooks());
    expect(built).toMatchObject({
      outcome: "failed",
      fault: "platform",
      message: expect.stringMatching(/ErrImagePull|ImagePullBackOff/),
    });
  });
});
