import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: "/hello/{name}",
  methods: ["GET"],
} satisfies FunctionConfig;

/** GET /hello/Ada → "Hello Ada" */
export default (request: Request): Response => {
  const name = request.headers.get("x-fission-params-name") ?? "world";
  console.log(`greeting ${name}`);
  return new Response(`Hello ${name}\n`);
};
