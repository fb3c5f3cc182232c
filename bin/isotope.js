#!/usr/bin/env node
// The `isotope` command. Plain JavaScript that any Node from 20 on can run: it hands over to the Node that comes with the package.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const WANTED_MAJOR = 24;
const here = dirname(realpathSync(fileURLToPath(import.meta.url)));
const main = [join(here, "..", "dist", "cli", "main.js"), join(here, "..", "cli", "main.ts")].find((path) =>
  existsSync(path),
);

/** The nearest installed `node` package, from this file upwards. */
function packagedNode() {
  for (let folder = here; folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(
      folder,
      "node_modules",
      "node",
      "bin",
      process.platform === "win32" ? "node.exe" : "node",
    );
    if (existsSync(candidate)) return candidate;
  }
  return undefined;
}

const isNewEnough = Number(process.versions.node.split(".")[0]) >= WANTED_MAJOR;
const node = isNewEnough ? process.execPath : packagedNode();
if (!main || !node) {
  process.stderr.write(
    main
      ? `Cannot run isotope: it needs Node ${WANTED_MAJOR} or newer, got ${process.version}, and the package "node" is not installed; run npm install\n`
      : "Cannot run isotope: its program is missing; install the package again\n",
  );
  process.exit(1);
}

if (isNewEnough) {
  // Where it may be written, the next command need not compile again.
  nodeModule.enableCompileCache?.(join(dirname(main), "..", ".cache", "compile"));
  await import(main);
} else {
  const child = spawn(node, ["--disable-warning=ExperimentalWarning", main, ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal ? 1 : 0);
  });
}
