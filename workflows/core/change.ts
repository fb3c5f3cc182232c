import type { ActorFacts } from "../definition/definition.ts";
import type { HistoryEntry, RunRecord } from "./run-record.ts";

/** A record and the lines of history that led to it. */
export interface Change {
  readonly record: RunRecord;
  readonly history: readonly NewLine[];
}
export type NewLine = Omit<HistoryEntry, "seq" | "at">;

/** What a decision may know besides the record. */
export interface Circumstances {
  /** By the store's clock, never behind it: ms since 1970. */
  readonly now: number;
  /** By the store's clock, never ahead of it: what is due by this is due. */
  readonly passed: number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  readonly actors: Readonly<Record<string, ActorFacts>>;
}

/** Entries of a table but those that a predicate names. */
export function without<T>(
  table: Readonly<Record<string, T>>,
  gone: (value: T) => boolean,
): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => !gone(value)));
}
