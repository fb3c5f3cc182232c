import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Adds up counts by word; the most frequent first. */
export default async (request: Request): Promise<Response> => {
  const { counts, top } = (await request.json()) as { counts: Record<string, number>[]; top: number };
  const sums = new Map<string, number>();
  for (const part of counts)
    for (const [word, count] of Object.entries(part)) sums.set(word, (sums.get(word) ?? 0) + count);
  const words = [...sums].sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
  return Response.json({ texts: counts.length, words: words.slice(0, top) });
};
