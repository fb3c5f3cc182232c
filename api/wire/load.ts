import { z } from "zod";

/**
 * What a router has to do, for the executor that scales by it: `POST /v2/load` (signed), `LoadReport` → 202.
 * A router sends one about once a second while it has any load, and one more when a revision's load has ended. A router that is silent
 * for `LOAD_SILENCE_MS` counts as one without load.
 */
export const LOAD_SILENCE_MS = 10_000;
/** Revisions of one report at most; a router with more sends several. */
export const MAX_LOADS = 4_000;

const RevisionLoad = z.object({
  /** UID of the function. */
  uid: z.string().max(64),
  revision: z.string().max(64),
  /**
   * Requests in pods or waiting for one, on average over the window, or at its end if that is more; without those that the pods there are
   * serve soon enough (router setting `scale-up-above`).
   */
  concurrency: z.number().nonnegative().max(10_000_000),
  /** Requests that ended in the window. */
  requests: z.number().int().nonnegative(),
});
export type RevisionLoad = z.infer<typeof RevisionLoad>;

export const LoadReport = z.object({
  /** One process of a router: random, made anew at its start. */
  router: z.string().min(1).max(64),
  windowMs: z.number().positive().max(600_000),
  revisions: z.array(RevisionLoad).max(MAX_LOADS),
});
export type LoadReport = z.infer<typeof LoadReport>;
