import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createWorld, MASTER_KEY, type World } from "./world.ts";

const MAIN = join(import.meta.dirname, "../../engine/router/main.ts");

let world: World;
let folder: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  world = await createWorld();
  folder = mkdtempSync(join(tmpdir(), "isotope-router-process-"));
  writeFileSync(join(folder, "key"), `${MASTER_KEY}\n`);
  writeFileSync(
    join(folder, "kubeconfig"),
    JSON.stringify({
      "current-context": "t",
      clusters: [{ name: "t", cluster: { server: world.kube.url } }],
      contexts: [{ name: "t", context: { cluster: "t", user: "t" } }],
      users: [{ name: "t", user: { token: "x" } }],
    }),
  );
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await world.close();
  rmSync(folder, { recursive: true });
});

function run(args: string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"], HOME: folder, ...env },
  });
  children.push(child);
  return child;
}

const flags = () => [
  "--port=0",
  "--internal-port=0",
  `--kubeconfig=${join(folder, "kubeconfig")}`,
  `--internal-key-file=${join(folder, "key")}`,
  `--executor-url=${world.executor.origin}`,
];

interface ReadyLine {
  message: string;
  port: number;
  metricsPort: number;
}

async function readyLine(child: ChildProcess): Promise<ReadyLine> {
  if (!child.stderr) throw new Error("no stderr");
  for await (const line of createInterface({ input: child.stderr })) {
    const fields = JSON.parse(line) as ReadyLine;
    if (fields.message === "Router is ready") return fields;
  }
  throw new Error("The router ended before it was ready");
}

describe("the router process", () => {
  test("serves, shows metrics, and finishes what runs when it gets SIGTERM", async () => {
    const pod = await world.pod();
    world.deploy();
    world.trigger("t", { prefix: "/p" });
    const child = run(flags());
    const { port, metricsPort } = await readyLine(child);
    expect((await fetch(`http://127.0.0.1:${port}/p/echo`)).status).toBe(200);
    const metricsOf = async () => (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    // A request is counted a moment after its caller has the answer, and a watch is open a moment after its list.
    await expect
      .poll(metricsOf)
      .toSatisfy((text: string) =>
        [
          'isotope_router_requests_total{namespace="default",function="hello",revision="r1",status="2xx"} 1\n',
          'isotope_router_watch_staleness_ms{kind="functions"} 0\n',
        ].every((line) => text.includes(line)),
      );
    expect((await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).status).toBe(200);
    const held = fetch(`http://127.0.0.1:${port}/p/held`);
    await world.until(() => pod.held.length === 1);
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const refuses = () =>
      fetch(`http://127.0.0.1:${metricsPort}/readyz`).then(
        ({ status }) => status !== 200,
        () => true,
      );
    await world.until(refuses, "the end to begin");
    pod.held[0]?.();
    expect((await held).status).toBe(200);
    expect(await ended).toEqual([0, null]);
  });

  test("kill -9 and a new start: warm functions are served without the executor", async () => {
    await world.pod();
    world.deploy();
    world.trigger("t", { prefix: "/p" });
    const first = run(flags());
    await readyLine(first);
    first.kill("SIGKILL");
    await once(first, "exit");
    await world.executor.down();
    const { port } = await readyLine(run(flags()));
    expect((await fetch(`http://127.0.0.1:${port}/p/echo`)).status).toBe(200);
  });

  test.each([
    [["--port=99999"], {}, "--port must be a whole number in 0..65535"],
    [["--nope=1"], {}, 'unknown flag "--nope"'],
    [[], { ISOTOPE_ROUTER_PROT: "1" }, 'unknown environment variable "ISOTOPE_ROUTER_PROT"'],
    [
      ["--trusted-proxies=example.com"],
      {},
      "--trusted-proxies must be a comma-separated list of IP addresses",
    ],
  ])("%j %j refuses to start and says why", async (args, env, message) => {
    const child = run(
      [
        ...flags().filter((flag) => !args.some((given) => given.split("=")[0] === flag.split("=")[0])),
        ...args,
      ],
      env,
    );
    let text = "";
    child.stderr?.on("data", (data: Buffer) => (text += data.toString()));
    const [code] = (await once(child, "close")) as [number];
    expect(code).toBe(2);
    expect(text).toContain(message);
  });
});
