// Deploys unchanged from Deno: the route is /deno-serve.
Deno.serve(async (request) => {
  const { pathname } = new URL(request.url);
  if (request.method === "POST") return Response.json({ echo: await request.json() });
  return new Response(`Deno.serve answers at ${pathname}\n`);
});
