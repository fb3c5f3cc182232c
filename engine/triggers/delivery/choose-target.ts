import { createHash } from "node:crypto";
import { PlatformError } from "../../../api/errors.ts";
import type { Target } from "./event.ts";

/**
 * The one function (or workflow) that an event goes to. A split by weight gives the same event the same function each time.
 * @throws {PlatformError} function_not_found, when a split has no function with a weight
 */
export function chooseTarget(target: Target, eventId: string): Target {
  if (target.type !== "function-weights") return target;
  const weights = Object.entries(target.functionweights ?? {}).filter(([, weight]) => weight > 0);
  const sum = weights.reduce((total, [, weight]) => total + weight, 0);
  let left = shareOf(eventId) * sum;
  for (const [name, weight] of weights) {
    left -= weight;
    if (left < 0) return { type: "name", name };
  }
  throw new PlatformError("function_not_found", "No function of the split has a weight above 0");
}

/** Where an event lies in 0..1, evenly spread over ids. */
export const shareOf = (eventId: string): number =>
  createHash("sha256").update(eventId).digest().readUInt32BE() / 2 ** 32;
