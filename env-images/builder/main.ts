import { tmpdir } from "node:os";
import { join } from "node:path";
import { POD_ENV } from "../../api/wire/pod.ts";
import { BUILDER_PORT } from "../../api/wire/builder.ts";
import { bytes, durationMs, integer, list, optionalText, port, startWith, text } from "../../net/settings.ts";
import { builderServer } from "./builder-server.ts";
import { openBuildsFolder } from "./builds-folder.ts";
import type { BuilderSettings } from "./builder-settings.ts";
import { buildWorkers } from "./build-workers.ts";

const SETTINGS = {
  host: text({
    flag: "host",
    env: "ISOTOPE_BUILDER_HOST",
    help: "address to listen on",
    fallback: "0.0.0.0",
  }),
  port: port({
    flag: "port",
    env: "ISOTOPE_BUILDER_PORT",
    help: "port to listen on",
    fallback: BUILDER_PORT,
  }),
  state: text({
    flag: "state",
    env: "ISOTOPE_BUILDER_STATE",
    help: "folder for builds, packages and npm's cache",
    fallback: join(tmpdir(), "isotope-builder"),
  }),
  token: text({
    flag: "token",
    env: POD_ENV.token,
    help: "token that callers must show",
    pattern: /^[\x21-\x7e]{16,}$/,
    allowed: "at least 16 printable characters",
    secret: true,
  }),
  concurrency: integer({
    flag: "concurrency",
    env: "ISOTOPE_BUILDER_CONCURRENCY",
    help: "builds at the same time",
    min: 1,
    max: 64,
    fallback: 2,
  }),
  maxSource: bytes({
    flag: "max-source",
    env: "ISOTOPE_BUILDER_MAX_SOURCE",
    help: "largest source archive",
    min: 1024,
    max: 2 ** 40,
    fallback: 256 * 2 ** 20,
  }),
  maxArtifact: bytes({
    flag: "max-artifact",
    env: "ISOTOPE_BUILDER_MAX_ARTIFACT",
    help: "largest artifact",
    min: 1024,
    max: 2 ** 40,
    fallback: 256 * 2 ** 20,
  }),
  maxMemory: bytes({
    flag: "max-memory",
    env: "ISOTOPE_BUILDER_MAX_MEMORY",
    help: "memory of one build",
    min: 64 * 2 ** 20,
    max: 2 ** 40,
    fallback: 2 ** 30,
  }),
  idleWorker: durationMs({
    flag: "idle-worker",
    env: "ISOTOPE_BUILDER_IDLE_WORKER",
    help: "how long an unused build process stays",
    minMs: 0,
    maxMs: 86_400_000,
    fallback: 600_000,
  }),
  npm: text({ flag: "npm", env: "ISOTOPE_BUILDER_NPM", help: "npm command", fallback: "npm" }),
  npmCache: optionalText({
    flag: "npm-cache",
    env: "ISOTOPE_BUILDER_NPM_CACHE",
    help: "npm's cache folder; default inside the state folder",
  }),
  npmTimeout: durationMs({
    flag: "npm-timeout",
    env: "ISOTOPE_BUILDER_NPM_TIMEOUT",
    help: "limit of one installation",
    minMs: 1000,
    maxMs: 3_600_000,
    fallback: 180_000,
  }),
  allowScripts: list({
    flag: "allow-scripts",
    env: "ISOTOPE_BUILDER_ALLOW_SCRIPTS",
    help: "packages whose install scripts may run",
    fallback: [],
  }),
  minReleaseAge: integer({
    flag: "min-release-age",
    env: "ISOTOPE_BUILDER_MIN_RELEASE_AGE",
    help: "days that a package's version must be old",
    min: 0,
    max: 365,
    fallback: 0,
  }),
  keptInstallations: integer({
    flag: "kept-installations",
    env: "ISOTOPE_BUILDER_KEPT_INSTALLATIONS",
    help: "installed sets of packages to keep",
    min: 1,
    max: 10_000,
    fallback: 64,
  }),
};

const SHARED = optionalText({
  flag: "shared",
  env: "ISOTOPE_BUILDER_SHARED",
  help: "folder shared with a fetcher; turns on the reference system's contract, which knows no token",
});
const VERSION = "1";

startWith(
  { ...SETTINGS, shared: SHARED },
  { argv: process.argv.slice(2), env: process.env },
  async (given) => {
    // Nothing that this process starts may find the token.
    delete process.env[POD_ENV.token];
    const settings: BuilderSettings = {
      stateFolder: given.state,
      npm: {
        command: given.npm,
        cacheFolder: given.npmCache,
        allowScripts: given.allowScripts,
        minReleaseAgeDays: given.minReleaseAge,
        timeoutMs: given.npmTimeout,
        keptInstallations: given.keptInstallations,
      },
      maxSourceBytes: given.maxSource,
      maxArtifactBytes: given.maxArtifact,
      concurrency: given.concurrency,
      maxMemoryBytes: given.maxMemory,
      idleWorkerMs: given.idleWorker,
    };
    const buildsFolder = await openBuildsFolder(settings.stateFolder);
    const workers = buildWorkers(settings);
    const app = builderServer({
      settings,
      buildsFolder,
      workers,
      token: given.token,
      version: VERSION,
      sharedFolder: given.shared,
    });
    const stop = (): void => {
      void app.close().finally(() => {
        workers.close();
        process.exit(0);
      });
    };
    process.once("SIGTERM", stop);
    process.once("SIGINT", stop);
    process.once("exit", () => workers.close());
    const address = await app.listen({ host: given.host, port: given.port });
    process.stderr.write(
      `${JSON.stringify({ level: "info", component: "builder", message: "listening", address })}\n`,
    );
  },
);
