import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

interface Charge {
  card: string;
  amount: number;
}

/** Cards that the bank refuses, as payment providers offer them for tests. */
const DECLINED = new Set(["4000000000000002"]);

/**
 * Takes an amount from a card. What it answers depends on the idempotency key alone, so that a step that is called twice charges once:
 * a payment provider does the same with a key that is passed on to it.
 */
export default async (request: Request): Promise<Response> => {
  const { card, amount } = (await request.json()) as Charge;
  if (DECLINED.has(card))
    return Response.json(
      { errorType: "CardDeclined", cause: { card: `…${card.slice(-4)}` } },
      { status: 402 },
    );
  const key = request.headers.get("idempotency-key") ?? crypto.randomUUID();
  return Response.json({ charge: `ch_${await digest(key)}`, amount });
};

const digest = async (text: string): Promise<string> => {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(bytes).slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};
