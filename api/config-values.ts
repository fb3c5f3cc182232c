import { z } from "zod";
import { parseDurationMs } from "./duration.ts";

/** Values that occur in `export const config` again and again. */
export const ConfigName = z
  .string()
  .max(63)
  .regex(/^[a-z]([-a-z0-9]*[a-z0-9])?$/, "must be lower-case letters, digits and -, and start with a letter");

const isDuration = (value: string): boolean => {
  try {
    return parseDurationMs(value) > 0;
  } catch {
    return false;
  }
};

/** Seconds, or a duration such as "30s" or "5m". */
export const ConfigDuration = z.union([
  z.number().positive(),
  z.string().max(32).refine(isDuration, "must be a duration such as 30s, 5m or 1h30m"),
]);

/** @returns milliseconds */
export const configDurationMs = (value: number | string): number =>
  typeof value === "number" ? value * 1_000 : parseDurationMs(value);

export const ConfigPath = z.string().regex(/^\//, "must start with /");
