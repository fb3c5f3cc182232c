import { randomBytes } from "node:crypto";
import type { Target } from "../delivery/event.ts";

/** Fixed for ever: stored invocations are found by it. */
export const PARTITIONS = 256;

/** Where everything of a function's invocations lies, 0..255: FNV-1a of its name. */
export function partitionOf(queue: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(queue)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) % PARTITIONS;
}

/** The queue of a target: `namespace/name` of a function, `namespace/wf:name` of a workflow. Versions and aliases share it. */
export const queueOf = (namespace: string, target: Pick<Target, "type" | "name">): string =>
  `${namespace}/${target.type === "workflow" ? "wf:" : ""}${target.name}`;

const SHAPE = /^([0-9a-f]{2})[0-9a-z]{9}[0-9a-z]{16}$/;
const RANDOM_BYTES = 10;

/** A new id: it says where the invocation lies, and sorts by time within there. */
export function newInvocationId(queue: string, now = Date.now()): string {
  const partition = partitionOf(queue).toString(16).padStart(2, "0");
  const random = BigInt(`0x${randomBytes(RANDOM_BYTES).toString("hex")}`);
  return `${partition}${now.toString(36).padStart(9, "0")}${random.toString(36).padStart(16, "0")}`;
}

/** Partition of an id; undefined when it is none of ours. */
export function partitionOfId(id: string): number | undefined {
  const [, partition] = SHAPE.exec(id) ?? [];
  return partition === undefined ? undefined : Number.parseInt(partition, 16);
}

const tag = (partition: number): string => `{ev:${partition.toString(16).padStart(2, "0")}}`;

export const readyKey = (partition: number): string => `${tag(partition)}:ready`;
export const queuesKey = (partition: number): string => `${tag(partition)}:fns`;
export const outboxKey = (partition: number): string => `${tag(partition)}:outbox`;
export const recordKey = (partition: number, id: string): string => `${tag(partition)}:i:${id}`;
export const queueKey = (queue: string, set: "all" | "due" | "run" | "dead" | "pins"): string =>
  `${tag(partitionOf(queue))}:f:${queue}:${set}`;
