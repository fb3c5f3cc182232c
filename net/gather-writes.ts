import type { Writable } from "node:stream";

/** What is written to the stream until the events at hand have been dealt with goes out together: one system call for all, and one wake-up at the other end. */
export function gatherWrites(stream: Writable): void {
  if (stream.writableCorked > 0 || stream.destroyed) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}
