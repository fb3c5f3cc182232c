import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false, timeout: "2m" } satisfies FunctionConfig;

interface Turn {
  tool: string;
  input: unknown;
  output: unknown;
}
type Step =
  | { tool: "calculate"; input: { expression: string } }
  | { tool: "price"; input: { article: string } }
  | { answer: string };

/**
 * Decides what an agent does next: a tool to be called, or the answer. Asks the model at MODEL_URL (an address that takes chat completions); without one it follows
 * rules that are enough for "What do 3 lamps cost?".
 */
export default async (request: Request): Promise<Response> => {
  const { question, turns } = (await request.json()) as { question: string; turns: Turn[] };
  const url = process.env["MODEL_URL"];
  return Response.json(url ? await askModel(url, question, turns, request.signal) : byRules(question, turns));
};

function byRules(question: string, turns: Turn[]): Step {
  const [, amount = "1", article = ""] = /(\d+)\s+(\p{L}+?)s?\b/u.exec(question) ?? [];
  const price = turns.find(({ tool }) => tool === "price")?.output as { price: number } | undefined;
  if (!price) return { tool: "price", input: { article } };
  const total = turns.find(({ tool }) => tool === "calculate")?.output as { value: number } | undefined;
  if (!total) return { tool: "calculate", input: { expression: `${amount} * ${price.price}` } };
  return { answer: `${amount} × ${article} cost ${total.value}` };
}

async function askModel(url: string, question: string, turns: Turn[], signal: AbortSignal): Promise<Step> {
  const rules =
    'Answer with JSON only: {"tool":"price","input":{"article":…}}, {"tool":"calculate","input":{"expression":…}} or {"answer":…}';
  const messages = [
    { role: "system", content: rules },
    { role: "user", content: question },
    ...turns.map((turn) => ({ role: "user", content: `Result: ${JSON.stringify(turn)}` })),
  ];
  const answer = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${process.env["MODEL_KEY"] ?? ""}`,
    },
    body: JSON.stringify({ model: process.env["MODEL_NAME"] ?? "default", messages }),
    signal,
  });
  if (!answer.ok) throw new Error(`The model answered ${answer.status}`);
  const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] };
  return JSON.parse(choices[0]?.message.content ?? "{}") as Step;
}
