import type { FunctionConfig } from "@isotope/platform";

export const config = { route: ["/hello", "/hello/{name}"] } satisfies FunctionConfig;

/** GET /hello/Ada → Hello Ada */
export default (request: Request): Response => {
  const name = request.headers.get("x-fission-params-name") ?? "world";
  return new Response(`Hello ${name}\n`);
};
