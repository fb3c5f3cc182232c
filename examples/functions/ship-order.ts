import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Hands an order to the carrier, who does not go everywhere. */
export default async (request: Request): Promise<Response> => {
  const { order, country } = (await request.json()) as { order: string; country: string };
  if (country === "Atlantis")
    return Response.json({ errorType: "NoCarrier", cause: { country } }, { status: 422 });
  return Response.json({ tracking: `tr_${order}` });
};
