// `npm start`: set-up, then the supervisor with the examples. Runs on Node 20.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { nodeBinary, ROOT, setUp, toolEnvironment } from "./setup.mjs";

setUp({ tools: false });
const given = process.argv.slice(2);
const deploy = given.some((argument) => argument.startsWith("--deploy"))
  ? []
  : ["--deploy", join(ROOT, "examples")];
const child = spawn(
  nodeBinary(),
  [
    "--disable-warning=ExperimentalWarning",
    "--max-semi-space-size=1",
    join(ROOT, "local", "main.ts"),
    ...deploy,
    ...given,
  ],
  {
    cwd: ROOT,
    stdio: "inherit",
    env: { NODE_COMPILE_CACHE: join(ROOT, ".cache", "compile"), ...toolEnvironment() },
  },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => {
  process.exitCode = code ?? (signal ? 1 : 0);
});
