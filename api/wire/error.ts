import { z } from "zod";

/** Body of every error reply that the platform makes itself. `message` only where the caller may see it. */
export const ErrorBody = z.object({
  /** Which process made the reply. */
  component: z.enum([
    "router",
    "executor",
    "fetcher",
    "function",
    "timeout",
    "builder",
    "storage",
    "controller",
    "workflows",
    "triggers",
  ]),
  /** Stable code from the error table (`api/errors.ts`). */
  reason: z.string(),
  requestId: z.string().optional(),
  traceId: z.string().optional(),
  message: z.string().optional(),
});
export type ErrorBody = z.infer<typeof ErrorBody>;
