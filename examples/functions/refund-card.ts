import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Gives a charge back: called with what `charge-card` was given and what it answered. */
export default async (request: Request): Promise<Response> => {
  const { output } = (await request.json()) as { output: { charge: string; amount: number } };
  return Response.json({ refund: output.charge.replace("ch_", "re_"), amount: output.amount });
};
