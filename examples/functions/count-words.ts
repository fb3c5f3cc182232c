import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** `{"text": "To be or not to be"}` → `{"to": 2, "be": 2, "or": 1, "not": 1}` */
export default async (request: Request): Promise<Response> => {
  const { text } = (await request.json()) as { text: string };
  const counts: Record<string, number> = {};
  for (const [word] of text.toLowerCase().matchAll(/\p{L}+/gu)) counts[word] = (counts[word] ?? 0) + 1;
  return Response.json(counts);
};
