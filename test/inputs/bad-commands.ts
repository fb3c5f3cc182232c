/** Command lines and project files that the CLI must refuse. */
export interface BadCommand {
  readonly args: readonly string[];
  /** Files of the folder in which it runs; paths → text. */
  readonly files?: Readonly<Record<string, string>>;
  /** 2 = wrong usage, 1 = cannot be done. */
  readonly code: 1 | 2;
  readonly says: readonly (string | RegExp)[];
}

const usage = (args: string, ...says: (string | RegExp)[]): BadCommand => ({
  args: args.split(" "),
  code: 2,
  says,
});
const fails = (args: string, ...says: (string | RegExp)[]): BadCommand => ({
  args: args.split(" "),
  code: 1,
  says,
});
const HANDLER = 'export default () => new Response("x");\n';
/** A function file whose `config` is wrong. */
const config = (text: string, ...says: (string | RegExp)[]): BadCommand => ({
  args: ["deploy"],
  files: { "functions/bad.ts": `export const config = ${text};\n${HANDLER}` },
  code: 1,
  says: ["functions/bad.ts", ...says],
});
const spec = (text: string, ...says: (string | RegExp)[]): BadCommand => ({
  args: ["spec", "apply"],
  files: {
    "specs/deployment.yaml":
      "kind: DeploymentConfig\napiVersion: fission.io/v1\nname: app\nuid: 6fd9f52a-0000-4000-8000-000000000000\n",
    "specs/bad.yaml": text,
  },
  code: 1,
  says: ["bad.yaml", ...says],
});
const object = (kind: string, body: string): string =>
  `apiVersion: fission.io/v1\nkind: ${kind}\nmetadata:\n  name: bad\nspec:\n${body.replace(/^/gm, "  ")}\n`;

export const BAD_COMMANDS: readonly BadCommand[] = [
  // Words.
  usage("functoin list", 'unknown command "functoin"', "function"),
  usage("fn creat --name x", 'unknown verb "creat"', "create"),
  usage("fn list --namspace x", "unknown flag --namspace", "--namespace"),
  usage("fn list -z", "unknown flag -z"),
  usage("fn get a b", 'unexpected argument "b"'),
  // Missing, doubled, malformed.
  usage("fn create", "--name is required"),
  usage("fn create --name", "--name needs a value"),
  usage("fn create --name a --name b --code x.ts", "--name is given more than once"),
  usage("fn get a --name b", '"a" and --name name the same thing twice'),
  usage("fn create --name a --env deno", "--code", "is required"),
  usage("fn create --name a --code x.ts --concurrency ten", "--concurrency", '"ten"'),
  usage("fn create --name a --code x.ts --concurrency -1", "--concurrency", '"-1"'),
  usage("fn create --name a --code x.ts --fntimeout 1.5", "--fntimeout", '"1.5"'),
  usage("fn create --name a --code x.ts --executortype lambda", "--executortype", '"lambda"', '"poolmgr"'),
  usage("fn create --name a --code x.ts --onceonly=maybe", "--onceonly", '"maybe"', "true or false"),
  usage("fn logs a -o xml", "xml", "json"),
  usage("fn logs a --level loud", "--level", '"loud"', '"debug"'),
  usage("fn logs a --recordcount 0", "--recordcount", '"0"'),
  usage("fn logs a -f -r", "--follow and --reverse exclude each other"),
  fails("fn logs a --since yesterday", "since", '"yesterday"'),
  usage("fn test a --alias b --version c", "--alias and --version exclude each other"),
  usage("fn test a -H nocolon", '"Name: value"', '"nocolon"'),
  usage("fn test a --timeout soon", "--timeout", '"soon"'),
  usage("fn test a --method FETCH", "FETCH", "GET"),
  usage("env create --name a --image i --poolsize -1", "--poolsize", '"-1"'),
  usage("env create --name a", "--image is required"),
  usage(
    "env create --name a --image i --mincpu 500 --maxcpu 100",
    "--mincpu must not be greater than --maxcpu",
    "500",
    "100",
  ),
  usage("route create --url /x", "--function"),
  usage("pkg create --name a", "--env is required"),
  usage("pkg wait --name a --for done", "--for", "done"),
  // Names.
  usage("fn create --name Hello_World --code x.ts", "Hello_World"),
  usage(`fn create --name ${"x".repeat(64)} --code x.ts`, "63"),
  usage("env create --name ../x --image i", "../x"),
  // What is not there.
  fails("fn get nobody", 'Function "nobody"', /not found/i),
  fails("fn delete --name nobody", "nobody", /not found/i),
  fails("fn update --name nobody --concurrency 5", "nobody", /not found/i),
  fails("fn create --name a --pkgname nothing", "nothing", /not found/i),
  fails("fn create --name a --code missing.ts", "missing.ts"),
  fails("fn create --name a --code folder-is-no-file.ts/x.ts", "folder-is-no-file.ts"),
  fails("archive upload --name missing.zip", "missing.zip"),
  usage("archive download --id 1234", "--id", '"1234"'),
  fails(`archive delete --id sha256:${"0".repeat(64)}`, "0".repeat(64), "does not exist"),
  fails("fn create --name hello --code hello.ts", 'Function "hello" exists already'),
  fails("env delete --name nobody", "nobody", /not found/i),
  fails("fn list --kubeconfig /nowhere/kubeconfig", "/nowhere/kubeconfig"),
  { args: ["deploy", "nowhere"], code: 1, says: ["nowhere"] },
  { args: ["deploy"], files: { "readme.md": "no functions here" }, code: 1, says: ["functions"] },
  // config of function files.
  config("{ concurrency: 0 }", "concurrency", "0"),
  config("{ concurency: 5 }", "concurency", /did you mean|unrecognized|unknown/i),
  config('{ route: "hello" }', "route", "must start with /"),
  config("{ timeout: -1 }", "timeout", "-1"),
  config('{ timeout: "soon" }', "timeout", "soon"),
  config('{ methods: ["FETCH"] }', "methods", "FETCH"),
  config("{ methods: [] }", "methods"),
  config("{ route: process.env.ROUTE }", "route", /literal/i),
  config("{ concurrency: 2 + 3 }", "concurrency", /literal/i),
  config("{ ...base }", /literal|spread/i),
  config('{ env: { NODE_OPTIONS: "--inspect" } }', "NODE_OPTIONS", "reserved"),
  config("{ env: { A: 5 } }", "env.A"),
  config('{ env: { A: { secret: "s" } } }', "env.A", "key"),
  config('{ cors: { origins: ["*"], credentials: true } }', "allowCredentials"),
  config("{ onceOnly: true, requestsPerPod: 5 }", "onceOnly", "requestsPerPod"),
  config('{ name: "Not Valid" }', "name", "Not Valid"),
  config('{ executor: "lambda" }', "executor", "lambda"),
  config('{ route: "/router-healthz" }', "/router-healthz"),
  config('{ route: "/a/../b" }', ".."),
  config('"text"', "config"),
  {
    args: ["deploy"],
    files: { "functions/bad.ts": "export const x = ;" },
    code: 1,
    says: ["functions/bad.ts", "1:"],
  },
  {
    args: ["deploy"],
    files: { "functions/bad.ts": 'import "./nothing.ts";\n' + HANDLER },
    code: 1,
    says: ["functions/bad.ts", "./nothing.ts", "does not exist"],
  },
  {
    args: ["deploy"],
    files: {
      "functions/a.ts": `export const config = { name: "same" };\n${HANDLER}`,
      "functions/same.ts": HANDLER,
    },
    code: 1,
    says: ["same", "functions/a.ts", "functions/same.ts"],
  },
  { args: ["deploy"], files: { "functions/9lives.ts": HANDLER }, code: 1, says: ["9lives"] },
  // Specs.
  spec("a: [", /yaml|line/i),
  spec(object("Function", "concurrency: 5"), "Function", "environment"),
  spec(object("Gadget", "a: 1"), "Gadget"),
  spec("kind: Function\nmetadata:\n  name: bad\n", "apiVersion"),
  spec(
    object("HTTPTrigger", "functionref:\n  type: name\n  name: nobody\nrelativeurl: hello"),
    "HTTPTrigger",
  ),
  spec("- 1\n- 2\n", /object|mapping/i),
  { args: ["spec", "apply"], code: 1, says: ["specs"] },
];
