import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Environment } from "../../api/kinds/index.ts";
import type { BuildInput } from "../../api/build.ts";
import { writeZip } from "../../net/archive/write-zip.ts";
import { killEach } from "../kill-each.ts";
import { type BuilderWorld, builderWorld } from "./builder-world.ts";
import { filesOf } from "./build-source.ts";

let world: BuilderWorld;
let environment: Environment;
beforeAll(async () => {
  world = await builderWorld();
  environment = await world.addEnvironment("python", "python-builder:1");
});
afterAll(() => world?.stop());

async function input(files: Record<string, string>, command = ""): Promise<BuildInput> {
  const bytes = await writeZip(
    Object.entries(files).map(([path, text]) => ({ path, bytes: Buffer.from(text) })),
  );
  return {
    namespace: "default",
    package: "code",
    environment,
    source: { sha256: createHash("sha256").update(bytes).digest("hex"), filename: "source.zip", bytes },
    command,
    entry: "",
    typeCheck: false,
  };
}

async function build(files: Record<string, string>, command?: string) {
  const log: string[] = [];
  const hooks = { onLog: (line: string) => void log.push(line), signal: new AbortController().signal };
  const built = await world.builder.build(await input(files, command), hooks);
  const artifact = built.outcome === "succeeded" ? await filesOf(built.artifact) : new Map<string, unknown>();
  return { built, names: [...artifact.keys()].toSorted(), log: log.join("\n") };
}

test("a builder of the reference system's contract builds what is pushed to it, beside a fetcher, without credentials", async () => {
  const { built, names, log } = await build({ "main.py": "x = 1\n", "lib/a.py": "y = 2\n" });
  expect(built).toMatchObject({ outcome: "succeeded" });
  expect(names).toEqual(["lib/a.py", "main.py"]);
  expect(log).toContain("checked and copied");
  const [pod] = await world.pods();
  expect(pod?.spec.automountServiceAccountToken).toBe(false);
  expect(pod?.spec.containers.map(({ name }) => name)).toEqual(["builder", "fetcher"]);
  expect(JSON.stringify(pod?.spec.containers[0]?.env)).not.toContain("TOKEN");
});

test("the package's command runs in the source's folder", async () => {
  const script =
    'mkdir "$DEPLOY_PKG" && cp main.py "$DEPLOY_PKG"/made.py && ln -s made.py "$DEPLOY_PKG"/link.py && echo built it\n';
  const { built, names, log } = await build({ "build.sh": script, "main.py": "x = 1\n" }, "sh build.sh");
  expect(built).toMatchObject({ outcome: "succeeded" });
  expect(names).toEqual(["link.py", "made.py"]);
  expect(log).toContain("built it");
});

test.each([
  ["source that does not compile", { "main.py": "def main(:\n" }, "", /SyntaxError|invalid syntax/],
  ["a command that fails", { "build.sh": "echo no luck; exit 3\n" }, "sh build.sh", /no luck/],
  [
    "a command with a shell's characters",
    { "main.py": "" },
    "sh build.sh; rm -rf /",
    /must not contain any of/,
  ],
  [
    "a link out of the artifact",
    { "b.sh": 'mkdir "$DEPLOY_PKG"; ln -s /etc/passwd "$DEPLOY_PKG"/p\n' },
    "sh b.sh",
    /link "p" must lead/,
  ],
  ["no artifact", { "b.sh": "true\n" }, "sh b.sh", /does not exist/],
])("%s is the user's fault", async (_, files, command, message) => {
  const { built } = await build(files, command);
  expect(built).toMatchObject({ outcome: "failed", fault: "user", message: expect.stringMatching(message) });
});

test("a builder that dies is made anew and the build done", async () => {
  const [pod] = await world.pods();
  if (!pod) throw new Error("a builder pod is expected");
  const started = join(world.folder, "started");
  const script = `touch ${started}; sleep 0.5; mkdir "$DEPLOY_PKG" && cp build.sh "$DEPLOY_PKG"\n`;
  const building = build({ "build.sh": script }, "sh build.sh");
  while (!existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 10));
  killEach(world.processesOf(pod));
  expect((await building).built).toMatchObject({ outcome: "succeeded" });
});
