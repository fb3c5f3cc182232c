import { expect, it, describe, afterEach } from "vitest";
import { boundedJson, createLog } from "../../env-images/deno/log.ts";
import { call, startFunction, startPod, specialize, stopPods } from "./deno-pod.ts";

afterEach(stopPods);

describe("the log of a pod", () => {
  it("has one JSON line per call of console, with the request's id also after awaiting", async () => {
    const pod = await startFunction(
      "console.warn('loading'); export default async (r) => { await new Promise((go) => setTimeout(go, Math.random() * 20)); console.log('a %s', r.headers.get('x-n'), { deep: { b: [1] } }); console.debug('d'); console.error('two\\nlines'); return new Response('x') }",
    );
    await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        call(pod, "/", { headers: { "x-n": String(n), "x-fission-request-id": `id-${n}` } }),
      ),
    );
    // What is written before an answer may be read after it.
    await pod.line(() => pod.lines().length >= 31);
    const lines = pod.lines();
    for (let n = 0; n < 10; n += 1) {
      const line = lines.find((candidate) => candidate.msg === `a ${n} { deep: { b: [ 1 ] } }`);
      expect(line).toMatchObject({
        level: "info",
        requestId: `id-${n}`,
        function: "hello",
        namespace: "default",
        revision: "rev-1",
        pod: "pod-1",
      });
      expect(Date.parse(line?.time ?? "")).toBeGreaterThan(Date.now() - 60_000);
    }
    expect(lines.find((line) => line.msg === "loading")).toMatchObject({ level: "warn" });
    expect(lines.find((line) => line.msg === "loading")).not.toHaveProperty("requestId");
    expect(lines.filter((line) => line.msg === "two\nlines" && line.level === "error")).toHaveLength(10);
    expect(lines.filter((line) => line.level === "debug")).toHaveLength(10);
  });

  it("hides the values of the function's secrets, and each longer line of them, in messages and stacks", async () => {
    const secrets = [
      {
        namespace: "default",
        name: "db",
        data: {
          password: Buffer.from("hunter2!$&\n").toString("base64"),
          short: Buffer.from("abc").toString("base64"),
          key: Buffer.from("-----BEGIN-----\nMIIEvQIBADANBgkqh\n-----END-----\n").toString("base64"),
        },
      },
    ];
    const pod = await startFunction(
      `console.log('loaded with ' + Deno.env.get('TOKEN'));
       export default (r, { secrets }) => {
         const { password, short, key } = secrets.db;
         console.log('url', 'postgres://me:' + password.trim() + '@' + password.trim() + '/x', { short });
         console.log(JSON.stringify({ key, open: Deno.env.get('OPEN') }));
         throw new Error('cannot log in with ' + password.trim());
       }`,
      { env: { TOKEN: "tok-123456", OPEN: "open-123456" }, secretEnv: ["TOKEN"], secrets },
    );
    await call(pod);
    expect((await pod.line((line) => line.msg.startsWith("loaded"))).msg).toBe("loaded with [secret]");
    expect((await pod.line((line) => line.msg.startsWith("url"))).msg).toBe(
      'url postgres://me:[secret]@[secret]/x { short: "abc" }',
    );
    expect((await pod.line((line) => line.msg.includes("open-123456"))).msg).toContain(
      "BEGIN-----\\n[secret]\\n",
    );
    const failure = await pod.line((line) => line.level === "error");
    expect(failure.msg).toContain("cannot log in with [secret]");
    expect(pod.output()).not.toMatch(/hunter2|tok-123456|MIIEvQ/);
  });

  it("lets plain writes through untouched", async () => {
    const pod = await startFunction(
      "import process from 'node:process'; export default () => { Deno.stdout.writeSync(new TextEncoder().encode('plain one\\n')); process.stdout.write('plain two\\n'); return new Response('x') }",
    );
    await call(pod);
    await expect
      .poll(() => pod.output().split("\n"))
      .toEqual(expect.arrayContaining(["plain one", "plain two"]));
  });

  it("keeps stacks for the log, and shows them in the reply only when debugging is on", async () => {
    const code = "function inner() { throw new TypeError('broken') }\nexport default () => inner()";
    const quiet = await startFunction(code);
    const reply = await call(quiet, "/", { headers: { "x-fission-request-id": "r-9" } });
    expect([reply.status, reply.headers.get("x-isotope-error"), await reply.json()]).toEqual([
      500,
      "function_error",
      { component: "function", reason: "function_error", requestId: "r-9" },
    ]);
    const line = await quiet.line((candidate) => candidate.msg === "TypeError: broken");
    expect([line.level, line.requestId]).toEqual(["error", "r-9"]);
    expect(line.stack).toMatch(/inner \(.*index\.js:1:\d+\)/);
    const loud = await startFunction(code, { debug: true });
    expect(await (await call(loud)).json()).toMatchObject({
      message: "TypeError: broken",
      stack: expect.stringContaining("inner"),
    });
  });

  it.each([
    ["small", ""],
    ["large", `const table = ${JSON.stringify(Array.from({ length: 20_000 }, (_, n) => n))};`],
  ])("maps stacks of a %s bundle to the sources", async (_size, more) => {
    const { build } = await import("esbuild");
    const result = await build({
      stdin: {
        contents: `interface A { a: number }\n\n\nexport default (): never => {\n  throw new Error('mapped' + (globalThis.table ?? ""));\n};\n${more}\nexport const kept = ${more === "" ? "0" : "table"};`,
        sourcefile: "hello.ts",
        loader: "ts",
      },
      bundle: true,
      format: "esm",
      sourcemap: true,
      write: false,
      outfile: "/x/index.js",
      minify: true,
    });
    const { ZipFile } = await import("yazl");
    const zip = new ZipFile();
    for (const file of result.outputFiles)
      zip.addBuffer(Buffer.from(file.contents), file.path.replace("/x/", ""));
    zip.end();
    const chunks: Buffer[] = [];
    for await (const chunk of zip.outputStream) chunks.push(Buffer.from(chunk));
    const pod = await startFunction(Buffer.concat(chunks));
    await call(pod);
    expect((await pod.line((line) => line.msg === "Error: mapped")).stack).toMatch(/hello\.ts:5:\d+/);
  });

  it("reports rejections and errors that nobody caught, and goes on", async () => {
    const pod = await startFunction(
      "export default (r) => { const p = new URL(r.url).pathname; if (p === '/reject') Promise.reject(new Error('lost')); if (p === '/throw') setTimeout(() => { throw new Error('thrown') }, 1); if (p === '/odd') Promise.reject({ odd: 1 }); return new Response('ok') }",
    );
    for (const path of ["/reject", "/throw", "/odd"]) expect(await (await call(pod, path)).text()).toBe("ok");
    expect((await pod.line((line) => line.msg === "Unhandled rejection: Error: lost")).stack).toContain(
      "index.js",
    );
    await pod.line((line) => line.msg === "Uncaught error: Error: thrown");
    await pod.line((line) => line.msg === "Unhandled rejection: { odd: 1 }");
    expect(await (await call(pod)).text()).toBe("ok");
  });

  it.each(["Deno.exit(3)", "(await import('node:process')).default.exit(3)", "close()"])(
    "says so when the function ends its process: %s",
    async (code) => {
      const pod = await startFunction(`export default async () => { ${code}; await new Promise(() => {}) }`);
      await call(pod).catch(() => {});
      await pod.exited;
      expect(
        pod
          .lines()
          .filter((line) => line.level === "error")
          .map((line) => line.msg)
          .join(),
      ).toContain("ended its own process");
    },
  );

  it("says why code does not load, once in the reply and once in the log", async () => {
    const pod = await startPod();
    const reply = await specialize(pod, "throw new Error('at load')");
    expect([reply.status, await reply.json()]).toMatchObject([
      422,
      { code: "load_failed", stack: expect.stringContaining("index.js:1") },
    ]);
    expect((await pod.line((line) => line.level === "error")).msg).toContain("at load");
    const refused = await call(pod);
    expect([refused.status, refused.headers.get("x-isotope-refused")]).toEqual([503, "retired"]);
  });
});

describe("createLog", () => {
  const collect = () => {
    const out: string[] = [];
    let at = 1_000;
    const log = createLog({
      output: (bytes) => void out.push(new TextDecoder().decode(bytes)),
      requestId: () => undefined,
      clock: () => at,
    });
    return { out, log, advance: (ms: number) => void (at += ms) };
  };

  it("bounds a line, whatever its characters", () => {
    for (const piece of ["x", "\u0000", "é", "😀", '"']) {
      const { out, log } = collect();
      log.write("info", piece.repeat(200_000), { stack: piece.repeat(200_000) });
      const line = out[0] ?? "";
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(64 * 1024);
      expect(JSON.parse(line).msg).toMatch(/ more characters\]$/);
    }
  });

  it("leaves short text alone", () => {
    expect(boundedJson('a "b"', 100)).toBe('"a \\"b\\""');
  });

  it("drops what comes too fast, and says how much", () => {
    const { out, log, advance } = collect();
    for (let index = 0; index < 6_000; index += 1) log.write("info", "x");
    expect(out).toHaveLength(5_000);
    advance(1_000);
    log.write("info", "after");
    expect(out.slice(5_000).map((line) => JSON.parse(line).msg)).toEqual([
      expect.stringContaining("1000 log lines were dropped"),
      "after",
    ]);
  });
});
