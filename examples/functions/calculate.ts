import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** `{"expression": "3 * (4 + 1.5)"}` → `{"value": 16.5}` */
export default async (request: Request): Promise<Response> => {
  const { expression } = (await request.json()) as { expression: string };
  const tokens = expression.match(/\d+(?:\.\d+)?|[-+*/()]/g) ?? [];
  let at = 0;
  const factor = (): number => {
    const token = tokens[at++];
    if (token === "(") {
      const value = sum();
      at++;
      return value;
    }
    return token === "-" ? -factor() : Number(token);
  };
  const product = (): number => {
    let value = factor();
    while (tokens[at] === "*" || tokens[at] === "/")
      value = tokens[at++] === "*" ? value * factor() : value / factor();
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[at] === "+" || tokens[at] === "-")
      value = tokens[at++] === "+" ? value + product() : value - product();
    return value;
  };
  const value = sum();
  if (!Number.isFinite(value))
    return Response.json({ errorType: "NoNumber", cause: { expression } }, { status: 422 });
  return Response.json({ value });
};
