// `npm run check`: everything that can be said about the code without running it. Each part names itself when it fails.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { BIN, installExamples, nodeBinary, ROOT, setUp, toolEnvironment } from "./setup.mjs";

setUp({ tools: true });
installExamples();

const bin = (name) => join(BIN, name);
const PARTS = [
  ["types", bin("tsc"), ["-p", "tsconfig.json"]],
  ["types of the Deno environment", bin("deno"), ["check", "--no-lock", "env-images/deno/main.ts"]],
  ["types of the examples", bin("tsc"), ["-p", "examples/tsconfig.json"]],
  ["lint", bin("oxlint"), ["--type-aware", "--quiet"]],
  ["format", bin("biome"), ["format", "--reporter=summary", "."]],
  [
    "import directions",
    nodeBinary(),
    [bin("depcruise"), "--config", ".dependency-cruiser.mjs", "--output-type", "err", "."],
  ],
  ["unused code", nodeBinary(), [bin("knip"), "--no-progress"]],
  ["generated files", nodeBinary(), ["scripts/gen.ts", "--check"]],
];

const run = ([name, command, args]) =>
  new Promise((resolve) => {
    const startedAt = Date.now();
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...toolEnvironment(), FORCE_COLOR: process.stdout.isTTY ? "1" : "0" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", (error) => resolve({ name, ok: false, output: error.message, seconds: 0 }));
    child.on("exit", (code) =>
      resolve({ name, ok: code === 0, output, seconds: (Date.now() - startedAt) / 1000 }),
    );
  });

let failed = 0;
const queue = [...PARTS];
const worker = async () => {
  for (let part = queue.shift(); part; part = queue.shift()) {
    const { name, ok, output, seconds } = await run(part);
    process.stdout.write(`${ok ? "ok  " : "FAIL"} ${name} (${seconds.toFixed(1)} s)\n`);
    if (!ok) {
      failed++;
      process.stdout.write(`${output.trimEnd()}\n`);
    }
  }
};
await Promise.all([worker(), worker()]);
process.exitCode = failed > 0 ? 1 : 0;
