import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: false,
  // Pods that are started again when they end, and of those only changes of what their containers wait for. On a cluster the service account needs a role:
  // docs/watches.md
  watch: {
    kind: "Pod",
    fieldSelector: "spec.restartPolicy=Always",
    events: ["ADDED", "MODIFIED"],
    fields: ["status.containerStatuses[*].state.waiting.reason"],
  },
  // kubectl create secret generic crash-alert --from-literal=webhook=https://…
  env: { ALERT_URL: { secret: "crash-alert", key: "webhook", optional: true } },
} satisfies FunctionConfig;

interface Pod {
  metadata: { namespace: string; name: string };
  status?: { containerStatuses?: ContainerStatus[] };
}
interface ContainerStatus {
  name: string;
  restartCount: number;
  state?: { waiting?: { reason?: string; message?: string } };
  lastState?: { terminated?: { exitCode: number; reason?: string } };
}

/** Tells who is on call that a container crashes again and again. */
export default async (request: Request): Promise<Response> => {
  const { metadata, status } = (await request.json()) as Pod;
  const crashing = (status?.containerStatuses ?? []).filter(
    ({ state }) => state?.waiting?.reason === "CrashLoopBackOff",
  );
  if (crashing.length === 0) return new Response(null, { status: 204 });
  const lines = crashing.map(
    ({ name, restartCount, lastState }) =>
      `${metadata.namespace}/${metadata.name}: container ${name} crashes again and again (exit code ${lastState?.terminated?.exitCode ?? "unknown"}, ${restartCount} restarts)`,
  );
  const url = process.env["ALERT_URL"];
  if (!url) console.error(lines.join("\n"));
  else {
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "idempotency-key": request.headers.get("idempotency-key") ?? "",
      },
      body: JSON.stringify({ text: lines.join("\n") }),
      signal: request.signal,
    });
    if (!answer.ok) return new Response(await answer.text(), { status: 502 });
  }
  return Response.json({ alerts: lines });
};
