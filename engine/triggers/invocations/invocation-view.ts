import type { InvocationView, Payload } from "../../../api/wire/invocations.ts";
import type { Invocation } from "./journal.ts";

/** What callers see of an invocation. `request`: its headers and body too. */
export function invocationView(
  invocation: Invocation,
  request?: { readonly body: Uint8Array | undefined },
): InvocationView {
  const { namespace, id, target, source, status, event, failure, result, destination } = invocation;
  return {
    namespace,
    id,
    target: {
      kind: target.type === "workflow" ? "workflow" : "function",
      name: target.name,
      ...(target.version ? { version: target.version } : {}),
      ...(target.alias ? { alias: target.alias } : {}),
    },
    source,
    status,
    acceptedAt: iso(invocation.acceptedAt),
    ...(status === "queued" ? { dueAt: iso(invocation.dueAt) } : {}),
    ...(invocation.startedAt === undefined ? {} : { startedAt: iso(invocation.startedAt) }),
    ...(invocation.endedAt === undefined ? {} : { endedAt: iso(invocation.endedAt) }),
    tries: invocation.tries,
    failures: invocation.failures,
    maxAttempts: invocation.policy.maxAttempts,
    lost: invocation.lost,
    redrives: invocation.redrives,
    depth: invocation.depth,
    method: event.method,
    path: event.path,
    payloadBytes: invocation.payloadBytes,
    ...(failure
      ? {
          lastError: {
            status: failure.status,
            reason: failure.reason,
            message: failure.message,
            at: iso(failure.at),
          },
        }
      : {}),
    ...(result
      ? {
          result: {
            status: result.status,
            headers: result.headers,
            bytes: result.elsewhere?.bytes ?? result.body.length,
            ...(result.elsewhere ? {} : { body: payloadOf(result.body) }),
            ...(result.elsewhere?.lost === undefined ? {} : { lost: result.elsewhere.lost }),
          },
        }
      : {}),
    ...(destination ? { destination: { ...destination, at: iso(destination.at) } } : {}),
    ...(request?.body ? { request: { headers: event.headers, body: payloadOf(request.body) } } : {}),
  };
}

const iso = (ms: number): string => new Date(ms).toISOString();

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function payloadOf(bytes: Uint8Array): Payload {
  try {
    return { text: decoder.decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString("base64") };
  }
}
