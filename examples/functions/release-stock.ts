import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Puts goods back: called with what `reserve-stock` was given and what it answered. */
export default async (request: Request): Promise<Response> => {
  const { output } = (await request.json()) as { output: { reservation: string } };
  return Response.json({ released: output.reservation });
};
