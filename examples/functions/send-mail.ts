import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** Sends a mail by the provider at MAIL_URL; without one it only says so in its log. */
export default async (request: Request): Promise<Response> => {
  const mail = (await request.json()) as { to: string; template: string };
  const url = process.env["MAIL_URL"];
  if (!url) {
    console.log(`mail "${mail.template}" to ${mail.to}`);
    return Response.json({ sent: mail.template });
  }
  const key = request.headers.get("idempotency-key") ?? "";
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": key },
    body: JSON.stringify(mail),
    signal: request.signal,
  });
  return answer.ok
    ? Response.json({ sent: mail.template })
    : new Response(await answer.text(), { status: 502 });
};
