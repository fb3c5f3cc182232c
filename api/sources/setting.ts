import { z } from "zod";

/** Settings of a source as they stand in a trigger's `metadata`: every value is a string. */

/** A whole number, as text. */
export const whole = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/)
    .refine((text) => Number(text) >= min && Number(text) <= max)
    .transform(Number)
    .prefault(String(fallback))
    .meta({ allowed: `a whole number ${min}..${max}` });

/** `true` or `false`, as text. */
export const flag = (fallback: boolean) =>
  z
    .enum(["true", "false"])
    .transform((text) => text === "true")
    .prefault(fallback ? "true" : "false");

/** `host:port` of each server, with commas between. */
export const servers = z
  .string()
  .min(1)
  .transform((text) => text.split(",").map((server) => server.trim()))
  .refine((list) => list.every((server) => /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/.test(server)))
  .meta({ allowed: "host:port of each server, with commas between" });
