import { z } from "zod";
import { HOST_ENDS, type HostExit, type HostLimits } from "./host-process.ts";

/**
 * What is said on a connection between the workflow service and the launcher of definition hosts. A connection is a host: it begins with `start`, and closing it
 * ends the host. Frames as in `frame-reader.ts`, of which the first byte says what the others are.
 */
export const LAUNCHER_FRAMES = {
  /** To the launcher, first of all: JSON, `StartMessage`. */
  start: 1,
  /** Bytes for the host, or of the host. */
  bytes: 2,
  /** To the launcher: one byte, 1 = it works from now on, 0 = it rests. */
  watch: 3,
  /** From the launcher, when the host rests: JSON, resident memory in MB. */
  memory: 4,
  /** From the launcher, last of all: JSON, `ExitMessage`. */
  exit: 5,
} as const;
export type LauncherFrame = keyof typeof LAUNCHER_FRAMES;

export const StartMessage = z.object({
  heapMb: z.number().min(16),
  memoryMb: z.number().min(64),
}) satisfies z.ZodType<HostLimits>;
export const ExitMessage = z.object({
  kind: z.enum(HOST_ENDS),
  detail: z.string(),
}) satisfies z.ZodType<HostExit>;

/** A frame of the kind: its payload is not copied. */
export function launcherFrame(kind: LauncherFrame, payload: Buffer): Buffer[] {
  const head = Buffer.allocUnsafe(5);
  head.writeUInt32BE(payload.length + 1);
  head[4] = LAUNCHER_FRAMES[kind];
  return [head, payload];
}

export const jsonFrame = (kind: LauncherFrame, value: unknown): Buffer[] =>
  launcherFrame(kind, Buffer.from(JSON.stringify(value), "utf8"));

const KINDS = new Map<number | undefined, LauncherFrame>(
  Object.entries(LAUNCHER_FRAMES).map(([kind, number]) => [
    number,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of that object
    kind as LauncherFrame,
  ]),
);

/** @throws {RangeError} for what is no frame of these */
export function readLauncherFrame(frame: Buffer): { kind: LauncherFrame; payload: Buffer } {
  const kind = KINDS.get(frame[0]);
  if (kind === undefined) throw new RangeError(`Cannot read a frame of kind ${frame[0] ?? "none"}`);
  return { kind, payload: frame.subarray(1) };
}
