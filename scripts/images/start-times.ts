import { connect, createServer } from "node:net";
import { imageCommand } from "../../env-images/deno/flags.ts";
import type { ContainerEngine } from "./container-engine.ts";
import type { ImageName } from "./image-table.ts";

/** How an image's process is started to be measured: on a given port of loopback, or to its end when there is none. */
interface Trial {
  readonly command: (port: number) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly listens: boolean;
}

const NODE = "/usr/local/bin/node";
const POD_ENV = { ISOTOPE_POD_TOKEN: "a-token-for-measuring", ISOTOPE_POD_UID: "measured" };
const local = (port: number): string[] => ["--host", "127.0.0.1", "--port", String(port)];

const TRIALS: Readonly<Record<ImageName, Trial>> = {
  isotope: {
    command: () => [NODE, "/app/env-images/isotope/main.js", "router", "--help"],
    env: {},
    listens: false,
  },
  "deno-env": {
    command: (port) => {
      const command = imageCommand();
      command.splice(command.indexOf("--host"), 4, ...local(port));
      return command;
    },
    env: POD_ENV,
    listens: true,
  },
  fetcher: {
    command: (port) => [NODE, "/app/env-images/fetcher/main.js", ...local(port)],
    env: POD_ENV,
    listens: true,
  },
  builder: {
    command: (port) => [NODE, "/app/env-images/builder/main.js", ...local(port)],
    env: { ...POD_ENV, ISOTOPE_BUILDER_STATE: "/tmp/state" },
    listens: true,
  },
};

const GIVE_UP_MS = 30_000;

/**
 * Milliseconds from the start of an image's process until it listens (isotope: until a component has loaded and told its settings), the
 * engine's own part taken off; undefined when the engine cannot run it here.
 */
export async function startTime(
  engine: ContainerEngine,
  name: ImageName,
  ref: string,
): Promise<number | undefined> {
  const { command, env, listens } = TRIALS[name];
  const port = await freePort();
  const engineMs = await timed(engine, ref, ["/no-such-program"], {}, undefined);
  const wholeMs = await timed(engine, ref, command(port), env, listens ? port : undefined);
  return engineMs === undefined || wholeMs === undefined ? undefined : Math.max(0, wholeMs - engineMs);
}

async function timed(
  engine: ContainerEngine,
  ref: string,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  port: number | undefined,
): Promise<number | undefined> {
  const running = await engine.run(ref, command, env).catch(() => undefined);
  if (!running) return undefined;
  const startedAt = performance.now();
  const ended = running.ended.then(() => port === undefined);
  const reached = await Promise.race([ended, ...(port === undefined ? [] : [listening(port)])]);
  const tookMs = performance.now() - startedAt;
  await running.stop();
  return reached ? Math.round(tookMs) : undefined;
}

async function listening(port: number): Promise<boolean> {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  while (performance.now() < giveUpAt) {
    if (await connects(port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return false;
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
