import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Puts goods aside. */
export default async (request: Request): Promise<Response> => {
  const { items } = (await request.json()) as { items: string[] };
  if (items.length === 0)
    return Response.json(
      { errorType: "NothingOrdered", cause: "items must name at least one" },
      { status: 400 },
    );
  return Response.json({ reservation: `rs_${items.length}_${items[0]}` });
};
