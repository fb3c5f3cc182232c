import { z } from "zod";

/** What the process of the timers has measured. */
export const TimerFigures = z.object({
  lateMs: z.array(z.number()),
  rssKib: z.number(),
  seconds: z.number(),
});
export type TimerFigures = z.infer<typeof TimerFigures>;
