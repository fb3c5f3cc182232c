import { resolve } from "node:path";
import type { Setting } from "../net/settings.ts";
import { DEFAULT_PORT_BASE } from "./ports.ts";

const LAST_PORT_BASE = 65_520;

const portBase = (text: string): number | undefined => {
  const port = Number(text);
  return Number.isInteger(port) && port >= 1024 && port <= LAST_PORT_BASE ? port : undefined;
};
const folder = (text: string): string | undefined => (text === "" ? undefined : resolve(text));

/** Settings of `isotope start`. */
export const SETTINGS = {
  home: {
    flag: "home",
    env: "ISOTOPE_HOME",
    help: "Folder for the platform's state",
    allowed: "a path",
    fallback: { value: resolve(".isotope") },
    parse: folder,
  } satisfies Setting<string>,
  portBase: {
    flag: "port-base",
    env: "ISOTOPE_PORT_BASE",
    help: "First of the platform's ports; the router listens on it",
    allowed: `1024..${LAST_PORT_BASE}`,
    fallback: { value: DEFAULT_PORT_BASE },
    parse: portBase,
  } satisfies Setting<number>,
  deploy: {
    flag: "deploy",
    env: "ISOTOPE_DEPLOY",
    help: "Folder to deploy at the start, such as examples",
    allowed: "a path",
    fallback: { value: undefined as string | undefined },
    parse: folder,
  } satisfies Setting<string | undefined>,
};
