import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

const PRICES: Readonly<Record<string, number>> = { lamp: 39.5, chair: 120, table: 340 };

/** `{"article": "lamp"}` → `{"price": 39.5}` */
export default async (request: Request): Promise<Response> => {
  const { article } = (await request.json()) as { article: string };
  const price = PRICES[article];
  return price === undefined
    ? Response.json({ errorType: "UnknownArticle", cause: { article } }, { status: 404 })
    : Response.json({ price });
};
