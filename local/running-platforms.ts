import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { announcementFolder, type Connection, isRunning, parseConnection } from "../net/local-connection.ts";

const folder = (): string => announcementFolder(process.env);
const entry = (home: string): string =>
  join(folder(), `${createHash("sha256").update(home).digest("hex").slice(0, 16)}.json`);

/** Lets the CLI find this platform from any folder. Failing to write it is no reason not to run. */
export function announcePlatform(connection: Connection): () => void {
  const path = entry(connection.home);
  try {
    mkdirSync(folder(), { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder())) {
      const other = parseConnection(readFileSync(join(folder(), name), "utf8"));
      if (!other || !isRunning(other)) rmSync(join(folder(), name), { force: true });
    }
    writeFileSync(path, JSON.stringify(connection), { mode: 0o600 });
  } catch {
    return () => undefined;
  }
  return () => rmSync(path, { force: true });
}
