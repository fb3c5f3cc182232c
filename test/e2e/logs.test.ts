import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { HEADER_REQUEST_ID } from "../../api/headers.ts";
import { LogLine, type LogLineLevel } from "../../api/wire/ops.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { resourceType } from "../../kube/resource.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

const WRITER = `
export const config = { route: "/writer" };
const inner = (text: string): never => {
  throw new RangeError(text);
};
export default async (request: Request) => {
  const url = new URL(request.url);
  const text = url.searchParams.get("text") ?? "";
  switch (url.searchParams.get("do")) {
    case "levels":
      console.debug("debug " + text);
      console.log("info %s %o", text, { a: [1] });
      await new Promise((go) => setTimeout(go, 1));
      console.warn("warn " + text);
      console.error("error " + text);
      return new Response("ok");
    case "throw":
      await null;
      return inner("broken " + text);
    case "odd":
      console.log("first\\nsecond\\r\\nthird " + text);
      console.log("\\u001b[31mred\\u001b[0m\\u0007 " + text);
      console.log("huge " + text + " " + "x".repeat(300_000));
      Deno.stdout.writeSync(new Uint8Array([0, 1, 2, 255, 254, 0xc3, 0x28, 10]));
      Deno.stdout.writeSync(new TextEncoder().encode("plain " + text + "\\n"));
      Deno.stderr.writeSync(new TextEncoder().encode("to stderr " + text + "\\n"));
      Deno.stdout.writeSync(new TextEncoder().encode('{"time":"2020-01-01T00:00:00Z","level":"info","msg":"forged ' + text + '","namespace":"kube-system","pod":"another"}\\n'));
      Deno.stdout.writeSync(new TextEncoder().encode("{\\"not\\": \\"ours " + text + "\\"}\\n"));
      return new Response("ok");
    case "flood": {
      const line = new TextEncoder().encode(("flood " + "y".repeat(16_000) + "\\n").repeat(8));
      for (let at = 0; at < 256; at++) Deno.stdout.writeSync(line);
      return new Response("ok");
    }
    case "die":
      console.log("first words " + text);
      await new Promise((go) => setTimeout(go, 1_000));
      console.log("last words " + text);
      Deno.exit(7);
  }
  console.log("said " + text);
  return new Response("ok");
};`;

let platform: TestPlatform;
let kube: KubeClient;
beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  await deploy(platform, {
    "writer.ts": WRITER,
    "silent.ts": `export const config = { route: "/silent" };\nexport default () => { console.log("of another function"); return new Response("ok"); };`,
  });
  expect((await platform.get("/writer")).status).toBe(200);
  expect((await platform.get("/silent")).status).toBe(200);
}, 240_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

/** Lines that `fn logs` shows, oldest first unless told otherwise. */
async function logs(...args: string[]): Promise<LogLine[]> {
  const { code, out, err } = await platform.cli(["fn", "logs", "writer", "-o", "json", ...args]);
  if (code !== 0) throw new Error(`fn logs ended with ${code}: ${err}`);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => LogLine.parse(JSON.parse(line)));
}

/** Calls the function; resolves to the id of the request. */
async function write(action: string, text: string, headers: Record<string, string> = {}): Promise<string> {
  const reply = await platform.get(`/writer?do=${action}&text=${text}`, { headers });
  await reply.text();
  return reply.headers.get(HEADER_REQUEST_ID) ?? "";
}

describe("what a function writes", () => {
  it("is kept with time, level, function, revision, pod and request", async () => {
    const before = Date.now();
    const id = await write("levels", "one");
    const lines = await asserted(async () => {
      const found = await logs("--request-id", id);
      expect(found).toHaveLength(4);
      return found;
    });
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ["debug", "debug one"],
      ["info", "info one { a: [ 1 ] }"],
      ["warn", "warn one"],
      ["error", "error one"],
    ]);
    const revision = (await kube.get(FUNCTIONS, { namespace: platform.namespace, name: "writer" })).status
      ?.serving?.revision;
    // Pods get their labels after the call that they were started for was answered.
    await asserted(async () => {
      const { out } = await platform.cli(["fn", "pods", "writer", "-o", "name"]);
      for (const line of lines) expect(out).toContain(line.pod);
    });
    for (const line of lines) {
      expect(line).toMatchObject({
        namespace: platform.namespace,
        function: "writer",
        revision,
        requestId: id,
      });
      expect(Date.parse(line.time)).toBeGreaterThanOrEqual(before - 1);
      expect(Date.parse(line.time)).toBeLessThanOrEqual(Date.now());
    }
  });

  it("belongs to its own request when many run at once", async () => {
    const ids = await Promise.all(Array.from({ length: 8 }, (_, at) => write("levels", `many-${at}`)));
    await asserted(async () => {
      for (const [at, id] of ids.entries())
        expect((await logs("--request-id", id)).map(({ message }) => message.split(" ")[1])).toEqual(
          Array.from({ length: 4 }, () => `many-${at}`),
        );
    });
  });

  it("keeps the caller's request id, and not one that could forge a line", async () => {
    expect(await write("say", "own", { [HEADER_REQUEST_ID]: "order-4711" })).toBe("order-4711");
    await asserted(async () =>
      expect((await logs("--request-id", "order-4711")).map(({ message }) => message)).toEqual(["said own"]),
    );
    const odd = await write("say", "odd-id", { [HEADER_REQUEST_ID]: "x".repeat(300) });
    expect(odd).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("says where a thrown error comes from: the TypeScript file and line, in the log and not in the answer", async () => {
    const reply = await platform.get("/writer?do=throw&text=mapped", {
      headers: { "x-fission-debug": "true" },
    });
    const body = await reply.text();
    expect([reply.status, reply.headers.get("x-fission-component")]).toEqual([500, "function"]);
    expect(JSON.parse(body)).toMatchObject({ component: "function", reason: "function_error" });
    for (const secret of ["broken mapped", "writer.ts", "RangeError", platform.home])
      expect(body).not.toContain(secret);
    const [line] = await asserted(async () => {
      const found = await logs("--search", "broken mapped");
      expect(found).toHaveLength(1);
      return found;
    });
    expect(line).toMatchObject({ level: "error", message: "RangeError: broken mapped" });
    expect(line?.requestId).toBe(reply.headers.get(HEADER_REQUEST_ID));
    const at = WRITER.split("\n").findIndex((text) => text.includes("throw new RangeError")) + 1;
    expect(line?.stack).toMatch(new RegExp(`inner \\(.*functions/writer\\.ts:${at}:\\d+\\)`));
    const shown = (await platform.cli(["fn", "logs", "writer", "--search", "broken mapped"])).out;
    expect(shown).toContain(`writer.ts:${at}:`);
  });

  it("is kept whole when it is odd: several lines, control sequences, bytes that are no text, huge", async () => {
    await write("odd", "zz1");
    const lines = await asserted(async () => {
      const found = await logs("--recordcount", "1000");
      expect(found.filter(({ message }) => message.includes("zz1"))).toHaveLength(7);
      return found;
    });
    const one = (start: string): LogLine => {
      const found = lines.filter(({ message }) => message.includes(start));
      expect(found, start).toHaveLength(1);
      return LogLine.parse(found[0]);
    };
    expect(one("third zz1").message).toBe("first\nsecond\r\nthird zz1");
    expect(one("red")).toMatchObject({ ansi: true });
    expect(one("huge zz1").message.length).toBeLessThan(70_000);
    expect(one("huge zz1").message).toMatch(/more characters\]$/);
    expect(one("plain zz1")).toMatchObject({ level: "info", stream: "stdout", function: "writer" });
    expect(one("to stderr zz1")).toMatchObject({ level: "error", stream: "stderr" });
    // A line that claims to be another pod's is this pod's all the same.
    const forged = one("forged zz1");
    expect([forged.namespace, forged.pod, forged.function]).toEqual([
      platform.namespace,
      one("plain zz1").pod,
      "writer",
    ]);
    expect(one("ours zz1").message).toBe('{"not": "ours zz1"}');
    // What the terminal would act on is not shown to it.
    const { out } = await platform.cli(["fn", "logs", "writer", "--search", "red"]);
    expect(out).toContain("red zz1");
    // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
    expect(out).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
  });
});

describe("fn logs", () => {
  const messages = async (...args: string[]): Promise<string[]> =>
    (await logs(...args)).map(({ message }) => message);

  it("narrows by level, text, time and number, in either order", async () => {
    const id = await write("levels", "narrow");
    await asserted(async () => expect(await logs("--request-id", id)).toHaveLength(4));
    const level = async (name: LogLineLevel) => (await messages("--request-id", id, "--level", name)).length;
    expect([await level("debug"), await level("info"), await level("warn"), await level("error")]).toEqual([
      4, 3, 2, 1,
    ]);
    expect(await messages("--search", "WARN narrow")).toEqual(["warn narrow"]);
    expect(await messages("--recordcount", "2")).toEqual(["warn narrow", "error narrow"]);
    expect(await messages("--recordcount", "2", "-r")).toEqual(["error narrow", "warn narrow"]);
    expect(await messages("--since", "1h", "--search", "narrow")).toHaveLength(4);
    expect(await messages("--since", new Date(Date.now() + 60_000).toISOString())).toEqual([]);
    const [first] = await logs("--request-id", id);
    expect(await messages("--pod", first?.pod ?? "", "--request-id", id)).toHaveLength(4);
    expect(await messages("--revision", "another")).toEqual([]);
    expect((await messages("--recordcount", "1000")).join("\n")).not.toContain("of another function");
  });

  it("shows lines to people, with their origin when asked", async () => {
    const id = await write("say", "shown");
    await asserted(async () => expect(await logs("--request-id", id)).toHaveLength(1));
    const plain = (await platform.cli(["fn", "logs", "writer", "--request-id", id])).out;
    expect(plain).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z INFO {2}said shown\n$/);
    const detail = (await platform.cli(["fn", "logs", "writer", "--request-id", id, "-d"])).out;
    expect(detail).toContain(id);
    const none = await platform.cli(["fn", "logs", "nobody"]);
    expect([none.code, none.out]).toEqual([0, ""]);
    expect(none.err).toContain('No log lines of function "nobody" found');
  });

  it("-f shows each line as it is written, once, until it is ended", async () => {
    const ending = new AbortController();
    let shown = "";
    const following = platform.cli(
      ["fn", "logs", "writer", "-f", "--recordcount", "1", "-o", "json", "--search", "tail"],
      {
        signal: ending.signal,
        onOut: (text) => (shown += text),
      },
    );
    await write("say", "tail-0");
    await vi.waitFor(() => expect(shown).toContain("tail-0"), { timeout: 60_000 });
    for (let at = 1; at <= 5; at++) await write("say", `tail-${at}`);
    // Each may be of another pod, whose lines come by themselves.
    await vi.waitFor(
      () => {
        for (let at = 1; at <= 5; at++) expect(shown).toContain(`tail-${at}`);
      },
      { timeout: 60_000 },
    );
    expect(
      shown
        .trimEnd()
        .split("\n")
        .map((line) => LogLine.parse(JSON.parse(line)).message)
        .toSorted(),
    ).toEqual(Array.from({ length: 6 }, (_, at) => `said tail-${at}`));
    ending.abort();
    expect((await following).code).toBe(130);
  });
});

describe("logs stay", () => {
  it("when the pod is gone, its last words included", async () => {
    const id = await write("say", "before the end");
    await asserted(async () => expect(await logs("--request-id", id)).toHaveLength(1));
    await write("die", "zz2");
    // Whichever router took the call may have another pod in mind; and a GET whose pod dies is sent to one more.
    const words = ["first words zz2", "last words zz2"];
    const pod = await asserted(async () => {
      const found = await logs("--search", "zz2");
      const name = found[0]?.pod ?? "";
      expect(found.filter((line) => line.pod === name).map(({ message }) => message)).toEqual(words);
      return name;
    });
    const pods = resourceType("v1", "Pod", "pods");
    await asserted(async () =>
      expect(await kube.find(pods, { namespace: platform.namespace, name: pod })).toBeUndefined(),
    );
    expect((await logs("--pod", pod, "--search", "zz2")).map(({ message }) => message)).toEqual(words);
    expect(await logs("--request-id", id)).toHaveLength(1);
    await asserted(async () => expect((await platform.get("/writer")).status).toBe(200));
  });

  it.skipIf(onCluster)("within bounds on the disk", async () => {
    const sizeOf = (folder: string): number =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .reduce((sum, entry) => {
          try {
            return sum + statSync(join(entry.parentPath, entry.name)).size;
          } catch {
            return sum;
          }
        }, 0);
    // 32 MB through one pod.
    await write("flood", "x");
    const id = await write("say", "after the flood");
    await asserted(async () => expect(await logs("--request-id", id)).toHaveLength(1));
    expect(sizeOf(join(platform.home, "localkube", "logs"))).toBeLessThan(64 * 2 ** 20);
    expect(sizeOf(join(platform.home, "logs"))).toBeLessThan(256 * 2 ** 20);
  });
});
