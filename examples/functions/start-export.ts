import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Begins an export and says how to ask for it. */
export default async (request: Request): Promise<Response> => {
  const { takesMs } = (await request.json()) as { takesMs: number };
  return Response.json({ startedAt: Date.now(), takesMs });
};
