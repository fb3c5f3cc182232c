import { request } from "undici";
import type { z } from "zod";
import type { OpsComponent } from "../../api/wire/ops.ts";

/** A process of the platform and where it says whether it is well. */
export interface ProbedComponent {
  readonly name: string;
  /** Answers 200 when all is well, else with the reason. */
  readonly healthUrl: string;
}

const TIMEOUT_MS = 1_000;
const MAX_MESSAGE = 300;

/** Asks each component how it is, all at once. */
export function probeComponents(
  components: readonly ProbedComponent[],
  version: string,
): Promise<z.infer<typeof OpsComponent>[]> {
  return Promise.all(
    components.map(async ({ name, healthUrl }) => {
      try {
        const reply = await request(healthUrl, { signal: AbortSignal.timeout(TIMEOUT_MS) });
        const text = await reply.body.text();
        if (reply.statusCode === 200) return { name, status: "up" as const, version, message: "" };
        return { name, status: "down" as const, version, message: text.slice(0, MAX_MESSAGE).trim() };
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
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
