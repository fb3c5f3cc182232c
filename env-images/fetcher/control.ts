/** Calls of the executor, the kubelet and the runtime to the fetcher itself; see `api/wire/pod.ts`. */
import type { Exchange } from "../../engine/router/http/types.ts";
import { look } from "./neighbour.ts";
import { type FetcherPod, assignmentOf, podState, retire, sharedStatus, statusOf } from "./pod.ts";
import { hasToken } from "./pod-token.ts";
import type { FetcherSettings } from "./settings.ts";
import { type Answer, specialize } from "./specialize.ts";

export interface ControlOwner {
  readonly pod: FetcherPod;
  readonly settings: FetcherSettings;
  /** Whether the runtime has taken a connection once. */
  readonly ready: () => boolean;
  readonly drain: () => void;
  /** Resolves when a drain that has begun is over. */
  readonly drained: Promise<void>;
}

/** The same as `SPECIALIZE_CONTENT_TYPE` in `api/wire/specialize.ts`. */
const SPECIALIZE_CONTENT_TYPE = "application/vnd.isotope.specialize";
const MAX_MESSAGE_BYTES = 320 * 1024 * 1024;
const MAX_CONTROL_BYTES = 4_096;
const LOOK_TIMEOUT_MS = 500;
const VERSION = "1";

/** Answers one call. The signal aborts when the caller has left. */
export async function control(owner: ControlOwner, exchange: Exchange, signal: AbortSignal): Promise<Answer> {
  const call = `${exchange.method} ${exchange.path}`;
  const { pod } = owner;
  switch (call) {
    case "GET /healthz":
      return { status: 200, body: { status: "ok" } };
    case "GET /readiness-healthz":
      return { status: owner.ready() ? 200 : 503, body: { status: owner.ready() ? "ready" : "starting" } };
    case "GET /version":
      return { status: 200, body: { version: VERSION } };
    case "GET /wsevent/start":
    case "GET /wsevent/end":
      pod.ownConnections = call === "GET /wsevent/start";
      return { status: 200, body: {} };
    case "GET /_isotope/healthz":
      return { status: owner.ready() ? 200 : 503, body: { podUid: pod.uid, state: podState(pod) } };
    case "GET /_isotope/drained":
      await owner.drained;
      return { status: 200, body: {} };
    default:
      return hasToken(exchange, owner.settings.token)
        ? controlled(owner, exchange, call, signal)
        : failure(401, "unauthorized", "The pod's token is missing or wrong");
  }
}

async function controlled(
  owner: ControlOwner,
  exchange: Exchange,
  call: string,
  signal: AbortSignal,
): Promise<Answer> {
  const { pod, settings } = owner;
  const functionUid = new URLSearchParams(exchange.query).get("function") ?? undefined;
  switch (call) {
    case "GET /_isotope/status": {
      const { host, port } = settings.neighbour;
      if (owner.ready() && (await look(host, port, LOOK_TIMEOUT_MS)) === "refuses") pod.failed = true;
      const all = pod.shared && functionUid === undefined;
      return { status: 200, body: all ? sharedStatus(pod) : statusOf(pod, assignmentOf(pod, functionUid)) };
    }
    case "POST /_isotope/retire":
      return retireCall(pod, functionUid, await readText(exchange));
    case "POST /_isotope/drain":
      if (functionUid === undefined || !pod.shared) owner.drain();
      else pod.assignments.delete(functionUid);
      return { status: 200, body: statusOf(pod, assignmentOf(pod, functionUid)) };
    case "POST /v2/specialize": {
      const type = exchange.header("content-type")?.split(";")[0]?.trim();
      if (type !== SPECIALIZE_CONTENT_TYPE)
        return failure(
          400,
          "bad_request",
          `Cannot specialise: content-type must be "${SPECIALIZE_CONTENT_TYPE}"`,
        );
      const body = await exchange.readBody(MAX_MESSAGE_BYTES);
      return specialize(pod, settings, new Uint8Array(body), signal);
    }
    default:
      return failure(404, "route_miss", `The fetcher has no call "${call}"`);
  }
}

function retireCall(pod: FetcherPod, functionUid: string | undefined, text: string): Answer {
  const ifIdleForMs = numberIn(text);
  if (ifIdleForMs === undefined)
    return failure(400, "bad_request", 'Cannot retire: the body must be JSON such as {"ifIdleForMs": 0}');
  const assignment = assignmentOf(pod, functionUid);
  if (!assignment) {
    const empty = !pod.shared && podState(pod) === "generic";
    if (empty) pod.draining = true;
    return { status: empty || podState(pod) === "retired" ? 200 : 409, body: statusOf(pod, undefined) };
  }
  const retired = retire(pod, assignment, ifIdleForMs);
  return { status: retired ? 200 : 409, body: statusOf(pod, assignment) };
}

function numberIn(text: string): number | undefined {
  try {
    const message: unknown = JSON.parse(text);
    const value: unknown =
      typeof message === "object" && message !== null ? Reflect.get(message, "ifIdleForMs") : undefined;
    return typeof value === "number" && value >= 0 ? value : undefined;
  } catch {
    return undefined;
  }
}

const readText = async (exchange: Exchange): Promise<string> =>
  (await exchange.readBody(MAX_CONTROL_BYTES)).toString("utf8");

const failure = (status: number, reason: string, message: string): Answer => ({
  status,
  body: { component: "fetcher", reason, message },
});
