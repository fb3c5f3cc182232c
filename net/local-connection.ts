import { readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";

/** How to reach a local platform: `connection.json` in its home. */
export interface Connection {
  home: string;
  kubeconfig: string;
  routerUrl: string;
  routerInternalUrl: string;
  opsUrl: string;
  /** Process number of the supervisor. */
  pid: number;
}

export const CONNECTION_FILE = "connection.json";
export const DEFAULT_HOME = ".isotope";
/** The supervisor's process number, in the home, from the moment it starts. */
export const SUPERVISOR_FILE = join("run", "supervisor.pid");

/** The connection in a file's text, or undefined when it is not one. */
export function parseConnection(text: string): Connection | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const fields = ["home", "kubeconfig", "routerUrl", "routerInternalUrl", "opsUrl"];
    const complete =
      fields.every((name) => typeof Reflect.get(value, name) === "string") &&
      typeof Reflect.get(value, "pid") === "number";
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every field was looked at above
    return complete ? (value as Connection) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the platform's supervisor still runs. */
export function isRunning({ pid }: Pick<Connection, "pid">): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

const readConnection = (path: string): Connection | undefined => {
  try {
    const connection = parseConnection(readFileSync(path, "utf8"));
    return connection && isRunning(connection) ? connection : undefined;
  } catch {
    return undefined;
  }
};

/** Folder in which running platforms announce themselves to this user's other folders. */
export const announcementFolder = (env: Readonly<Record<string, string | undefined>>): string =>
  env.ISOTOPE_STATE_DIR ??
  join(env.XDG_STATE_HOME ?? join(env.HOME ?? homedir(), ".local", "state"), "isotope", "running");

/**
 * The running local platform that is meant: of `home` if given, else of the nearest `.isotope` from `cwd` upwards,
 * else the only one this user runs. Undefined when there is none, or more than one to choose from.
 */
export function findLocalPlatform(options: {
  home?: string | undefined;
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
}): Connection | undefined {
  const home = options.home ?? options.env.ISOTOPE_HOME;
  if (home) return readConnection(join(resolve(options.cwd, home), CONNECTION_FILE));
  for (let folder = options.cwd; ; folder = dirname(folder)) {
    const found = readConnection(join(folder, DEFAULT_HOME, CONNECTION_FILE));
    if (found) return found;
    if (dirname(folder) === folder) break;
  }
  const announced = announcementFolder(options.env);
  let names: string[];
  try {
    names = readdirSync(announced);
  } catch {
    return undefined;
  }
  const running = names
    .map((name) => readConnection(join(announced, name)))
    .filter((connection) => connection !== undefined);
  return running.length === 1 ? running[0] : undefined;
}

/** Home of the platform that is meant (as `findLocalPlatform` says) and whose supervisor runs but does not answer yet: it starts. */
export function findStartingPlatform(options: Parameters<typeof findLocalPlatform>[0]): string | undefined {
  const home = options.home ?? options.env.ISOTOPE_HOME;
  if (home) return isStarting(resolve(options.cwd, home)) ? resolve(options.cwd, home) : undefined;
  for (let folder = options.cwd; ; folder = dirname(folder)) {
    if (isStarting(join(folder, DEFAULT_HOME))) return join(folder, DEFAULT_HOME);
    if (dirname(folder) === folder) return undefined;
  }
}

function isStarting(home: string): boolean {
  if (readConnection(join(home, CONNECTION_FILE))) return false;
  try {
    const pid = Number.parseInt(readFileSync(join(home, SUPERVISOR_FILE), "utf8"), 10);
    return pid > 0 && isRunning({ pid });
  } catch {
    return false;
  }
}
