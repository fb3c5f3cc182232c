import { drainOnSignal } from "../../net/drain.ts";
import { processLog } from "../../net/log.ts";
import { startWith } from "../../net/settings.ts";
import { startLauncher } from "./launcher.ts";
import { DEFINITION_HOST_SETTINGS, type DefinitionHostSettings } from "./settings.ts";

/** This process, and the pages of Deno's program, which all hosts share. */
const OWN_MB = 192;
const LEAST_MB = 128;
const DRAIN_MS = 5_000;

/** The launcher of definition hosts as the process of a container that holds no credentials. */
async function start(settings: DefinitionHostSettings): Promise<void> {
  const log = processLog("definition-host");
  const memoryMb = settings.memory > 0 ? settings.memory / 2 ** 20 : leftOf(process.constrainedMemory());
  const launcher = await startLauncher({
    socket: settings.socket,
    deno: settings.deno,
    denoDir: settings.denoFolder,
    memoryMb,
    onEvent: ({ kind, ...event }) => log.info(`Definition host ${kind}`, event),
  });
  log.info("Launcher of definition hosts listens", { socket: settings.socket, memoryMb });
  drainOnSignal({
    log,
    deadlineMs: DRAIN_MS,
    steps: [{ name: "launcher", stop: () => launcher.close() }],
  });
}

/** 0 and what is beyond all machines' memory: there is no limit. */
const leftOf = (limit: number): number =>
  limit === 0 || limit > 2 ** 50 ? Infinity : Math.max(LEAST_MB, Math.floor(limit / 2 ** 20) - OWN_MB);

startWith(
  DEFINITION_HOST_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_DEFINITION_HOST_" },
  start,
);
