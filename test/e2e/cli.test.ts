import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { writeZip } from "../../net/archive/write-zip.ts";
import { startTestPlatform } from "./platform.ts";
import { type CliResult, runCli } from "./run-cli.ts";
import type { TestPlatform } from "./test-platform.ts";

/** The verbs and flags of the CLI against a running platform; each test looks at what the platform then holds or answers. */
let platform: TestPlatform;
const cwd = mkdtempSync(join(tmpdir(), "isotope-cli-"));

const cli = (args: string, options: { stdin?: string; cwd?: string } = {}): Promise<CliResult> =>
  platform.cli(args.match(/'[^']*'|\S+/g)?.map((word) => word.replace(/^'(.*)'$/, "$1")) ?? [], {
    cwd,
    ...options,
  });
/** Runs a command that must succeed. */
async function ok(args: string, options: { stdin?: string; cwd?: string } = {}): Promise<string> {
  const { code, out, err } = await cli(args, options);
  if (code !== 0) throw new Error(`isotope ${args} ended with ${code}:\n${out}${err}`);
  return out;
}
/** Runs a command that must fail with this exit code; resolves to what it said. */
async function fails(args: string, code: number): Promise<string> {
  const result = await cli(args);
  expect({ args, code: result.code, out: result.out }).toEqual({ args, code, out: "" });
  return result.err;
}
const file = (name: string, content: string | Uint8Array): void => {
  mkdirSync(join(cwd, name, ".."), { recursive: true });
  writeFileSync(join(cwd, name), content);
};
const answer = async (path: string, init?: RequestInit): Promise<string> =>
  (await platform.get(path, init)).text();
const Named = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });
const jsonOf = (text: string): unknown => JSON.parse(text);

beforeAll(async () => {
  platform = await startTestPlatform();
  file("hello.ts", 'export default () => "hello\\n";\n');
}, 240_000);
afterAll(async () => {
  await platform.stop();
  rmSync(cwd, { recursive: true, force: true });
});

describe("usage", () => {
  it.each([
    ["", 0, /Commands:[\s\S]*Nouns:/],
    ["--help", 0, /isotope <noun> <verb>/],
    ["fn", 0, /Verbs:[\s\S]*create/],
    ["function --help", 0, /Functions/],
    ["help fn create", 0, /--code/],
    ["fn create --help", 0, /--requestsperpod, --rpp/],
    ["--version", 0, /client: \d/],
  ])("isotope %s", async (args, code, text) => {
    const result = await runCli(args.split(" ").filter(Boolean), { cwd });
    expect(result.code).toBe(code);
    expect(result.out).toMatch(text);
  });

  it.each<[string, string]>([
    ["fnn list", 'unknown command "fnn"; did you mean "fn"?'],
    ["fn lst", 'unknown verb "lst" for fn; did you mean "list"?'],
    ["fn list --ouptut json", "unknown flag --ouptut; did you mean --output?"],
    ["fn list -o xml", '--output must be one of "json", "yaml", "wide", "name", got "xml"'],
    ["fn create", "--name is required"],
    ["fn create a --name b", '"a" and --name name the same thing twice'],
    ["fn list extra", 'unexpected argument "extra"'],
    ["fn create x --code hello.ts --rpp -1", "--requestsperpod must be 0..100000"],
    ["fn create x --code a.ts --method FETCH", "--method must be one of"],
    ["fn create x --code a.ts --deploy b.zip", "--code and --deployarchive exclude each other"],
    ["fn create x --code hello.ts -e NOVALUE", '--env-var must be key=value, got "NOVALUE"'],
    ["env create e --image i --mincpu 200 --maxcpu 100", "--mincpu must not be greater than --maxcpu"],
    ["route create --function f", "one of --url and --prefix is required"],
    ["route create --url /x", "--function is required"],
    ["route create --url /x --function a --function b --weight 50,40", "--weight must add up to 100, got 90"],
    ["fn wait x --for ready", "--for must be condition=<type>"],
    ["archive download --id md5:1", "--id must be sha256:<64 hex digits>"],
    ["fn logs x -f -r", "--follow and --reverse exclude each other"],
    ["alias create a --function f --version f-v1 --weight 90", "--weight 90 needs --secondary-version"],
    ["canary create c --trigger t --newfn b --oldfn a --steps 50,5", "must name growing weights"],
    ["route create --url /x --function a --sticky cookie", "--sticky must be header:NAME"],
    ["pkg delete", "either --name or --orphan is required"],
    ["topic tial orders", "Run `isotope topic --help` for usage"],
    ["topic publish a/b --data x", '--topic must be 1..249 characters of A-Z a-z 0-9 . _ -, got "a/b"'],
    ["topic publish orders", "--data is required"],
    ["topic publish orders --data @no-such-file", "--data names a file that cannot be read"],
    [
      "topic publish orders --data x --header nothing",
      '--header must be name=value or "Name: value", got "nothing"',
    ],
    ["dlq redrive", "Say which dead letters to redrive"],
    ["dlq purge 7f0 --all", "ids exclude --function, --workflow, --source and --all"],
    ["invocation get", "--id is required: Id of the invocation"],
  ])("isotope %s is wrong usage", async (args, text) => {
    expect(await fails(args, 2)).toContain(text);
  });

  it.each([
    ["fn tools", "comes in a later release"],
    ["fn rollback none", 'Function "none" not found in namespace "NAMESPACE"'],
    ["release promote none", 'No release found in namespace "NAMESPACE"'],
    ["alias create live --function none --version none-v1", 'Function "none" not found'],
    ["fn logs none --version none-v1", 'Function "none" has no version "none-v1"'],
    ["canary create c --trigger none --newfn b --oldfn a", 'HTTPTrigger "none" not found'],
    ["fn run-local x", "`isotope dev` runs functions on this machine"],
    ["fn create x --code a.ts --state", "--state comes in a later release"],
    ["fn get none", 'Function "none" not found in namespace "NAMESPACE"'],
    ["fn delete none", "not found"],
    ["fn test none", ""],
    ["fn create x --code no-such-file.ts", "no-such-file.ts"],
    ["fn create x --env none --code hello.ts", 'Environment "none" not found'],
    ["env delete deno-none", "not found"],
    ["fn create Bad_Name --code hello.ts", "Bad_Name"],
    ["fn wait none --timeout 200ms", "did not reach Ready=True within 0.2 s"],
  ])("isotope %s fails", async (args, text) => {
    const result = await cli(args);
    expect([1, 2]).toContain(result.code);
    expect(result.err).toContain(text.replace("NAMESPACE", platform.namespace));
  });

  it("says how to get a platform where there is none", async () => {
    const env = { HOME: cwd, KUBECONFIG: undefined, ISOTOPE_HOME: undefined };
    const { code, err } = await runCli(["fn", "list"], { cwd, env });
    expect([code, err]).toEqual([1, expect.stringContaining("isotope start")]);
    expect((await runCli(["fn", "create", "x", "--code"], { cwd, env })).err).toContain(
      "--code needs a value",
    );
  });
});

describe("fn", () => {
  it("creates from a file with a route, calls, changes, describes, deletes", async () => {
    expect(
      await ok("fn create --name one --env deno --code hello.ts --url /one --method GET,POST"),
    ).toContain('function "one" created');
    expect((await cli("fn create --name one --code hello.ts")).err).toContain("exists already");
    expect(await ok("fn wait one --for condition=Ready --timeout 60s")).toContain("condition met");
    await ok(
      "route wait --name ".concat((await ok("route list --function one -o name")).split("/")[1] ?? ""),
    );
    // Each router hears of a route by itself.
    await expect.poll(() => answer("/one"), { timeout: 60_000 }).toBe("hello\n");
    expect(await ok("fn test one")).toBe("hello\n");
    const before = Named.parse(jsonOf(await ok("fn get one -o json")));
    file("hello2.ts", 'export default () => "changed\\n";\n');
    await ok("fn update one --code hello2.ts --fntimeout 5 --labels team=a");
    await expect.poll(() => answer("/one"), { timeout: 60_000 }).toBe("changed\n");
    const after = parse(await ok("fn get one -o yaml"));
    expect(after.spec.functionTimeout).toBe(5);
    expect(after.metadata).toMatchObject({ uid: before.metadata.uid, labels: { team: "a" } });
    await expect
      .poll(() => ok("fn describe one"), { timeout: 60_000 })
      .toMatch(/Routes:\n.*GET,POST http:.*\/one[\s\S]*Ready=True/);
    expect(jsonOf(await ok("fn getmeta one -o json"))).toMatchObject({ name: "one" });
    // Pods get their labels after the call that they were started for was answered.
    await expect.poll(() => ok("fn pods one"), { timeout: 60_000 }).toMatch(/POD|NAME/);
    expect(await ok("fn list -o name")).toContain("functions/one\n");
    expect(await ok("fn list -l team=a -o wide")).toMatch(/CONCURRENCY[\s\S]*one/);
    expect(await ok("fn list -A")).toMatch(new RegExp(`NAMESPACE[\\s\\S]*${platform.namespace} +one`));
    expect(jsonOf(await ok("fn list -o json"))).toMatchObject({ kind: "List" });
    await ok("route delete --function one");
    await ok("fn delete one");
    expect(await ok("fn delete one --ignorenotfound")).toBe("");
    await expect.poll(async () => (await platform.get("/one")).status, { timeout: 60_000 }).toBe(404);
  }, 300_000);

  it("passes method, body, stdin, headers, query and path to the function; its failure is the exit code", async () => {
    file(
      "echo.ts",
      `export default async (request: Request) => {
        const url = new URL(request.url);
        console.log("level is info"); console.error("level is error");
        return new Response(JSON.stringify({ method: request.method, path: url.pathname, q: url.searchParams.get("q"), h: request.headers.get("x-mine"), body: await request.text() }),
          { status: url.searchParams.has("bad") ? 418 : 200 });
      };`,
    );
    await ok("fn create echo --env deno --code echo.ts --rpp 10");
    await ok("fn wait echo");
    expect(
      jsonOf(await ok("fn test echo --method PUT --body hi -H 'X-Mine: 1' -q q=a=b --subpath /deep/er")),
    ).toMatchObject({
      method: "PUT",
      q: "a=b",
      h: "1",
      body: "hi",
    });
    expect(jsonOf(await ok("fn test echo --body @-", { stdin: "from stdin" }))).toMatchObject({
      method: "POST",
      body: "from stdin",
    });
    const bad = await cli("fn test echo -q bad=1");
    expect([bad.code, bad.err]).toEqual([1, expect.stringContaining("answered 418")]);
    const lines = async (flags: string): Promise<string[]> =>
      (await ok(`fn logs echo ${flags}`)).split("\n").filter(Boolean);
    await expect.poll(async () => (await lines("")).length, { timeout: 60_000 }).toBeGreaterThan(5);
    expect((await lines("--level error")).every((line) => line.includes("level is error"))).toBe(true);
    expect(await lines("--recordcount 2")).toHaveLength(2);
    expect((await lines("--search info --since 10m")).every((line) => line.includes("info"))).toBe(true);
    expect((await lines("--recordcount 50"))[0]).toBe((await lines("--recordcount 50 -r")).at(-1));
    const [entry] = (await lines("-o json")).map((line) =>
      z.looseObject({ requestId: z.string() }).parse(jsonOf(line)),
    );
    expect((await lines(`--request-id ${entry?.requestId}`)).length).toBeGreaterThan(0);
  }, 300_000);

  it("builds a folder with several files, takes a built archive of several MB and a URL", async () => {
    file("lib/main.ts", 'import { n } from "./part.ts";\nexport default () => String(n);\n');
    file("lib/part.ts", "export const n = 42;\n");
    await ok("fn create folder --env deno --src lib --entrypoint main --url /folder");
    const built = await writeZip([
      {
        path: "index.mjs",
        bytes: Buffer.from('import b from "./big.mjs"; export default () => String(b.length);'),
      },
      { path: "big.mjs", bytes: Buffer.from(`export default "${randomBytes(2_000_000).toString("hex")}";`) },
    ]);
    file("built.zip", built);
    await ok("fn create big --env deno --deploy built.zip --entrypoint index --url /big");
    const bytes = readFileSync(join(cwd, "hello.ts"));
    const server = createServer((_request, reply) => reply.end(bytes)).listen(0, "127.0.0.1");
    await new Promise((done) => server.once("listening", done));
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/hello.ts`;
    try {
      const sum = createHash("sha256").update(bytes).digest("hex");
      expect(await fails(`fn create far --env deno --code ${url}`, 2)).toContain(sum);
      expect(
        await fails(`fn create far --env deno --code ${url} --srcchecksum ${"0".repeat(64)}`, 1),
      ).toContain(sum);
      await ok(`fn create far --env deno --code ${url} --srcchecksum ${sum} --url /far`);
    } finally {
      server.close();
    }
    for (const name of ["folder", "big", "far"]) await ok(`fn wait ${name}`);
    await expect.poll(() => answer("/folder"), { timeout: 60_000 }).toBe("42");
    await expect.poll(() => answer("/big"), { timeout: 60_000 }).toBe("4000000");
    await expect.poll(() => answer("/far"), { timeout: 60_000 }).toBe("hello\n");
  }, 300_000);

  it("makes and changes functions of any image", async () => {
    const containerOf = async (name: string) => {
      const { spec } = parse(await ok(`fn get ${name} -o yaml`));
      return [spec.podspec, spec.InvokeStrategy.ExecutionStrategy];
    };
    await ok("fn run-container web --image example.test/web:1 --port 8080 --args '-x y' -e A=1 --maxscale 3");
    expect(await containerOf("web")).toMatchObject([
      {
        containers: [{ image: "example.test/web:1", args: ["-x", "y"], ports: [{ containerPort: 8080 }] }],
      },
      { ExecutorType: "container", MaxScale: 3 },
    ]);
    await ok(
      "fn updatec web --image example.test/web:2 --command serve --graceperiod 45 --imagepullsecret reg",
    );
    expect(await containerOf("web")).toMatchObject([
      {
        containers: [
          {
            image: "example.test/web:2",
            args: ["-x", "y"],
            command: ["serve"],
            ports: [{ containerPort: 8080 }],
          },
        ],
        terminationGracePeriodSeconds: 45,
        imagePullSecrets: [{ name: "reg" }],
      },
      { ExecutorType: "container", MaxScale: 3 },
    ]);
    expect(await ok("fn describe web")).toMatch(/\nImage: example.test\/web:2\n/);
    await ok("fn runc plain --image example.test/web:1");
    expect(await containerOf("plain")).toMatchObject([
      { containers: [{ ports: [{ containerPort: 8888 }] }] },
      {},
    ]);
    await ok("fn create code --env deno --code hello.ts");
    expect(await fails("fn update-container code --image example.test/web:1", 1)).toContain(
      'Cannot update function "code" as a container: its executor type is "poolmgr"',
    );
    expect(await fails("fn update-container none --image example.test/web:1", 1)).toContain("not found");
    expect(await fails("fn run-container bad --image i --port 0", 2)).toContain("--port must be");
    for (const name of ["web", "plain", "code"]) await ok(`fn delete ${name}`);
  }, 300_000);

  it("prints or writes YAML instead of creating", async () => {
    expect(await ok("fn create dry --env deno --code hello.ts --dry")).toMatch(
      /kind: Package[\s\S]*kind: Function/,
    );
    expect(await ok("fn list -o name")).not.toContain("dry");
    await ok("fn create specced --env deno --code hello.ts --spec");
    expect(parse(readFileSync(join(cwd, "specs", "function-specced.yaml"), "utf8"))).toMatchObject({
      kind: "Function",
    });
    rmSync(join(cwd, "specs"), { recursive: true });
  });
});

describe("env, pkg, archive, route", () => {
  it("environments: create, get, update, impact, delete", async () => {
    await ok(
      "env create second --image isotope/deno-env --builder isotope/builder --poolsize 1 --graceperiod 7",
    );
    expect(jsonOf(await ok("env get second -o json"))).toMatchObject({ spec: { poolsize: 1, version: 3 } });
    await ok("environment update --name second --poolsize 0 --runtime-env A=b");
    expect(jsonOf(await ok("env get second -o json"))).toMatchObject({
      spec: { poolsize: 0, runtime: { container: { env: [{ name: "A", value: "b" }] } } },
    });
    expect(await ok("env list")).toMatch(/NAME +IMAGE +BUILDER/);
    await ok("fn create user --env second --code hello.ts");
    expect(await ok("env impact second")).toBe("function/user\n");
    expect((await cli("env delete second")).err).toContain("functions use it (user)");
    await ok("fn delete user");
    await ok("env rm second");
    expect(await ok("env list -o name")).not.toContain("second");
    await expect.poll(() => ok("env pods deno"), { timeout: 60_000 }).not.toBe("");
  }, 300_000);

  it("packages: build, log of a failing build, rebuild, sources, orphans", async () => {
    file("broken.ts", "export default () => {\n  return 1 +;\n};\n");
    await ok("pkg create broken --env deno --code broken.ts");
    await expect
      .poll(() => ok("pkg list --status failed -o name"), { timeout: 60_000 })
      .toBe("packages/broken\n");
    expect(await ok("pkg info broken")).toMatch(/Status: +failed[\s\S]*:2:/);
    await ok("pkg update broken --code hello.ts");
    await ok("pkg wait broken --for condition=BuildSucceeded --timeout 90s");
    expect(await ok("pkg getsrc broken")).toBe(readFileSync(join(cwd, "hello.ts"), "utf8"));
    await ok("pkg getdeploy broken -o built.js");
    expect(readFileSync(join(cwd, "built.js")).byteLength).toBeGreaterThan(20);
    await ok("package rebuild --name broken");
    await ok("pkg wait broken --for condition=BuildSucceeded --timeout 90s");
    expect(await ok("pkg list --orphan -o name")).toContain("packages/broken");
    await ok("pkg delete broken");
    expect(await ok("pkg list -o name")).not.toContain("broken");
  }, 300_000);

  it("archives of several MB: upload, list, url, download, delete", async () => {
    const bytes = randomBytes(6_000_000);
    file("big.bin", bytes);
    const id = (await ok("archive upload big.bin")).trim();
    expect(id).toBe(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
    expect(await ok("ar list")).toContain(`${id}  6000000`);
    expect(await ok(`archive get-url ${id}`)).toMatch(/sha256/);
    await ok(`archive download --id ${id} -o copy.bin`);
    expect(readFileSync(join(cwd, "copy.bin")).equals(bytes)).toBe(true);
    await ok(`archive delete ${id}`);
    expect((await cli(`archive download ${id}`)).code).toBe(1);
  }, 300_000);

  it("secrets: set, list without values, use, unset, delete", async () => {
    expect(await ok("secret set keys a=1 b=two=2")).toBe('secret "keys" holds a, b\n');
    await ok("secret set keys --from-file c=-", { stdin: "from stdin" });
    const listed = await ok("secret list");
    expect(listed).toMatch(new RegExp(`^${platform.namespace} +keys +a,b,c`, "m"));
    expect(listed).not.toContain("two");
    file("secretive.ts", "export default () => [process.env.a, process.env.b, process.env.c].join();\n");
    await ok("fn create secretive --env deno --code secretive.ts --url /secretive --env-from-secret keys");
    await ok("fn wait secretive");
    await expect.poll(() => answer("/secretive"), { timeout: 60_000 }).toBe("1,two=2,from stdin");
    await ok("secret set keys a=9");
    await expect.poll(() => answer("/secretive"), { timeout: 60_000 }).toBe("9,two=2,from stdin");
    await ok("secret unset keys b");
    expect((await cli("secret unset keys b")).err).toContain('has no key "b"; it holds a, c');
    const wrong = await cli("secret set keys hunter2");
    expect([wrong.code, wrong.err.includes("hunter2")]).toEqual([2, false]);
    await ok("fn delete secretive");
    await ok("secret delete keys");
    expect(await ok("secret list -o name")).not.toContain("keys");
  }, 300_000);

  it("routes: create, update, prefix, get, delete", async () => {
    await ok("fn create routed --env deno --code hello.ts");
    await ok("ht create --name r --url /r/{id} --function routed --method GET");
    await ok("fn wait routed");
    await ok("ht wait r --for condition=RouteAdmitted");
    await expect.poll(() => answer("/r/1"), { timeout: 60_000 }).toBe("hello\n");
    await expect
      .poll(async () => (await platform.get("/r/1", { method: "DELETE" })).status, { timeout: 60_000 })
      .toBe(405);
    await ok("route update r --prefix /under --keepprefix --method GET,DELETE");
    await expect.poll(() => answer("/under/x", { method: "DELETE" }), { timeout: 60_000 }).toBe("hello\n");
    expect(await ok("route get r")).toContain("/under*");
    expect(await ok("route list --function other -o name")).toBe("");
    expect(await ok("routes list --function routed -o name")).toBe("httptriggers/r\n");
    await ok("route create --name kept --url /kept-by-cli --function routed");
    await ok("route delete r");
    expect((await cli("fn delete routed")).err).toContain(
      'waiting for a function "routed": httptrigger/kept\n',
    );
    await ok("route delete kept");
  }, 300_000);
});

describe("spec", () => {
  it("init, validate, apply, apply again, list, --dry-run, --delete, destroy", async () => {
    const app = join(cwd, "app");
    mkdirSync(app);
    const inApp = { cwd: app };
    expect(await ok("spec init --name shop", inApp)).toContain("fission-deployment-config.yaml");
    expect((await cli("spec init", inApp)).code).toBe(1);
    file("app/hello.ts", 'export default () => "from a spec\\n";\n');
    await ok("fn create specfn --env deno --code hello.ts --url /specfn --spec", inApp);
    expect(await ok("spec validate", inApp)).toMatch(/^3 objects/);
    expect(await ok("spec apply --dry-run", inApp)).toContain("+ function/specfn");
    expect(await ok("fn list -o name")).not.toContain("specfn");
    expect(await ok("spec apply --wait", inApp)).toContain("+ function/specfn");
    await expect.poll(() => answer("/specfn"), { timeout: 60_000 }).toBe("from a spec\n");
    expect(await ok("spec apply", inApp)).toBe("  = 3 unchanged\n");
    expect((await ok("spec list", inApp)).split("\n").filter(Boolean)).toHaveLength(3);
    const path = join(app, "specs", "function-specfn.yaml");
    const spec = readFileSync(path, "utf8");
    writeFileSync(path, spec.replace(/^spec:$/m, "spec:\n  requestsPerPod: 100001"));
    expect((await cli("spec validate", inApp)).err).toMatch(/requestsPerPod/);
    expect((await cli("spec apply", inApp)).code).toBe(1);
    rmSync(path);
    expect((await cli("spec apply", inApp)).err).toContain("--delete deletes it");
    expect(await ok("fn list -o name")).toContain("specfn");
    await ok("spec apply --delete", inApp);
    expect(await ok("fn list -o name")).not.toContain("specfn");
    await ok("spec destroy --force", inApp);
    expect(await ok("spec list", inApp)).toBe("");
  }, 300_000);

  it("--watch applies what is saved", async () => {
    const app = join(cwd, "watched");
    mkdirSync(app);
    await ok("spec init", { cwd: app });
    await ok("env create watched --image isotope/deno-env --poolsize 0 --spec", { cwd: app });
    const stop = new AbortController();
    const watching = platform.cli(["spec", "apply", "--watch"], { cwd: app, signal: stop.signal });
    const poolsize = async (): Promise<unknown> =>
      parse((await cli("env get watched -o yaml")).out)?.spec?.poolsize;
    await expect.poll(poolsize, { timeout: 60_000 }).toBe(0);
    const path = join(app, "specs", "environment-watched.yaml");
    writeFileSync(path, readFileSync(path, "utf8").replace("poolsize: 0", "poolsize: 1"));
    await expect.poll(poolsize, { timeout: 60_000 }).toBe(1);
    stop.abort();
    expect((await watching).code).toBe(0);
    await ok("env delete watched");
  }, 300_000);
});

describe("deploy, init, status", () => {
  it("deploys a folder, shows its plan, changes nothing twice, prunes", async () => {
    const app = join(cwd, "project");
    expect(await ok(`init ${app}`)).toContain("functions/hello.ts");
    expect((await cli(`init ${app}`)).err).toContain("holds files already");
    // Routes of all the tests on a cluster are of one router, and the examples have this one.
    const hello = readFileSync(join(app, "functions", "hello.ts"), "utf8");
    expect(hello).toContain('route: "/hello/{name}"');
    file("project/functions/hello.ts", hello.replace("/hello/", "/begun/"));
    const inApp = { cwd: app };
    file(
      "project/functions/extra.ts",
      'export const config = { route: "/extra", cron: "0 3 * * *" };\nexport default () => "extra";\n',
    );
    expect(await ok("deploy --dry-run", inApp)).toMatch(/\+ function\/extra[\s\S]*\+ function\/hello/);
    expect((await platform.get("/extra")).status).toBe(404);
    expect(await ok("deploy", inApp)).toMatch(
      /extra {2}http\S+\/extra {2}timer "0 3 \* \* \*" {2}revision [0-9a-f]+/,
    );
    expect(await answer("/extra")).toBe("extra");
    expect(await answer("/begun/Ada")).toBe("Hello Ada\n");
    expect(await ok("deploy", inApp)).toMatch(/^ {2}= \d objects unchanged\n/);
    expect((await cli("deploy --only nothing", inApp)).err).toContain('the folder holds "extra", "hello"');
    const timers = async (): Promise<string[]> => {
      const listed = z.object({ items: z.array(Named) }).parse(jsonOf(await ok("timer list -o json")));
      return listed.items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith("extra"));
    };
    expect(await timers()).toEqual(["extra"]);
    file(
      "project/functions/extra.ts",
      `export const config = {
        route: "/extra",
        cron: [{ schedule: "0 3 * * *", timeZone: "Asia/Kolkata" }, { name: "yearly", schedule: "@yearly", catchUp: "none" }],
        queue: { type: "redis-streams", topic: "extras", settings: { window: 8 } },
        async: { maxAttempts: 2 },
      };\nexport default () => "extra";\n`,
    );
    expect(await ok("deploy", inApp)).toMatch(/~ timetrigger\/extra [\s\S]*\+ timetrigger\/extra-yearly/);
    expect(await timers()).toEqual(["extra", "extra-yearly"]);
    expect(jsonOf(await ok("mqt get extra -o json"))).toMatchObject({ spec: { metadata: { window: "8" } } });
    expect(await ok("deploy", inApp)).toMatch(/^ {2}= \d objects unchanged\n/);
    file(
      "project/functions/extra.ts",
      'export const config = { route: "/extra", cron: { name: "yearly", schedule: "@yearly" } };\nexport default () => "extra";\n',
    );
    // What the file does not ask for any more would go on calling by itself.
    expect(await ok("deploy", inApp)).toMatch(/- timetrigger\/extra\n[\s\S]*- messagequeuetrigger\/extra\n/);
    expect(await timers()).toEqual(["extra-yearly"]);
    expect((await cli("mqt get extra")).code).toBe(1);
    rmSync(join(app, "functions", "extra.ts"));
    expect((await cli("deploy", inApp)).err).toContain("--prune deletes it");
    expect(await answer("/extra")).toBe("extra");
    expect(await ok("deploy --prune", inApp)).toContain("- function/extra");
    await expect.poll(async () => (await platform.get("/extra")).status, { timeout: 60_000 }).toBe(404);
    file(
      "project/functions/hello.ts",
      'export const config = { route: "/begun/{name}" };\nexport default () => { return "broken" +; };\n',
    );
    const broken = await cli("deploy", inApp);
    expect([broken.code, broken.err]).toEqual([1, expect.stringMatching(/hello\.ts:2:\d+/)]);
    expect(await answer("/begun/Ada")).toBe("Hello Ada\n");
  }, 300_000);

  it("tells how the platform is", async () => {
    expect(await ok("status")).toMatch(/functions +http[\s\S]*functions ready/);
    expect(jsonOf(await ok("status -o json"))).toMatchObject({ counts: { functions: expect.any(Number) } });
    expect(await ok("check")).not.toContain("FAIL");
    expect(await ok("check --pre")).toContain("ok");
    expect(await ok("version")).toMatch(/client: .*[\s\S]*server: /);
    expect(jsonOf(await ok("version --client-only -o json"))).toMatchObject({ client: expect.any(String) });
    const elsewhere = await cli("fn list -n elsewhere");
    expect([elsewhere.code, elsewhere.err]).toEqual([0, "No functions found\n"]);
  }, 300_000);
});
