import { request } from "undici";
import type { z } from "zod";
import type { OpsComponent } from "../../api/wire/ops.ts";

/** A process of the platform and where it says whether it is well. */
export interface ProbedComponent {
  readonly name: string;
  /** Answers 200 when all is well, else with the reason. */
  readonly healthUrl: string;
}

/**
 * Longer than a resolver waits before it repeats a lost question (5 s): a node that is short of processors makes every answer late at
 * once, and late is not down.
 */
const TIMEOUT_MS = 8_000;
const MAX_MESSAGE = 300;

/** Asks each component how it is, all at once. @param timeoutMs after so long without an answer it is down */
export function probeComponents(
  components: readonly ProbedComponent[],
  version: string,
  timeoutMs = TIMEOUT_MS,
): Promise<z.infer<typeof OpsComponent>[]> {
  return Promise.all(
    components.map(async ({ name, healthUrl }) => {
      try {
        const reply = await request(healthUrl, { signal: AbortSignal.timeout(timeoutMs) });
        const text = await reply.body.text();
        if (reply.statusCode === 200) return { name, status: "up" as const, version, message: "" };
        return { name, status: "down" as const, version, message: text.slice(0, MAX_MESSAGE).trim() };
      } catch (error) {
        const message = reasonOf(error, timeoutMs);
        return {
          name,
          status: "down" as const,
          version: "",
          message: `${healthUrl} does not answer: ${message}`,
        };
      }
    }),
  );
}

/** Asks one component whether it is there at all. */
export const healthCheck = (healthUrl: string) => async (): Promise<boolean> => {
  const [found] = await probeComponents([{ name: "", healthUrl }], "");
  return found?.status === "up";
};

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === "TimeoutError" ? `no answer within ${timeoutMs} ms` : error.message;
}
