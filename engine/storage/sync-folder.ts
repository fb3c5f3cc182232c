import { open } from "node:fs/promises";
import { errno } from "./write-upload.ts";

/** What was named, renamed or removed in a folder survives the loss of power. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** A rejection handler that turns one errno into a value. */
export const unless =
  <T>(code: string, value: T) =>
  (error: unknown): T => {
    if (errno(error) === code) return value;
    throw error;
  };
