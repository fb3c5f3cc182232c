/** Control calls: `/_isotope/*`, see `api/wire/pod.ts`. All but healthz need the pod's token. */
import { type Pod, idleMs, podStatus } from "./pod.ts";
import { headersGet, jsonParse, requestHeaders, requestMethod, stringCharCodeAt } from "./primordials.ts";
import { jsonReply } from "./reply.ts";

/** Whether the request carries the token. Takes the same time whatever differs. */
export function hasToken(request: Request, token: string): boolean {
  const given = headersGet(requestHeaders(request), "authorization") ?? "";
  const wanted = `Bearer ${token}`;
  let difference = given.length ^ wanted.length;
  for (let at = 0; at < wanted.length; at += 1) {
    difference |= stringCharCodeAt(wanted, at) ^ (at < given.length ? stringCharCodeAt(given, at) : 0);
  }
  return token !== "" && difference === 0;
}

const failure = (status: number, reason: string, message: string): Response =>
  jsonReply(status, { component: "function", reason, message });

export const unauthorized = (): Response =>
  failure(401, "unauthorized", "The pod's token is missing or wrong");

export const badRequest = (message: string): Response => failure(400, "bad_request", message);

export interface ControlOwner {
  readonly pod: Pod;
  readonly token: string;
  /** Whether the pod has warmed itself. */
  ready(): boolean;
  drain(): void;
  /** The body's text, of at most so many bytes; null when it is longer. */
  text(request: Request, limit: number): Promise<string | null>;
}

const MAX_BODY_BYTES = 4_096;

async function retire(owner: ControlOwner, request: Request): Promise<Response> {
  const { pod } = owner;
  const text = await owner.text(request, MAX_BODY_BYTES);
  let idleFor: unknown;
  try {
    idleFor = jsonParse(text ?? "")?.ifIdleForMs;
  } catch {
    return badRequest('Cannot retire: the body must be JSON such as {"ifIdleForMs": 0}');
  }
  if (typeof idleFor !== "number" || !(idleFor >= 0)) {
    return badRequest("Cannot retire: ifIdleForMs must be a number of at least 0");
  }
  // Nothing runs between this check and the change, so that no request slips in.
  if (
    pod.inFlight > 0 ||
    pod.state === "specialising" ||
    (pod.state !== "retired" && idleMs(pod) < idleFor)
  ) {
    return jsonReply(409, podStatus(pod));
  }
  pod.state = "retired";
  return jsonReply(200, podStatus(pod));
}

/** Answers one control call. */
export async function control(owner: ControlOwner, request: Request, path: string): Promise<Response> {
  const { pod } = owner;
  const call = `${requestMethod(request)} ${path}`;
  if (call === "GET /_isotope/healthz") {
    return jsonReply(owner.ready() ? 200 : 503, { podUid: pod.uid, state: pod.state });
  }
  if (!hasToken(request, owner.token)) return unauthorized();
  switch (call) {
    case "GET /_isotope/status":
      return jsonReply(200, podStatus(pod));
    case "POST /_isotope/retire":
      return await retire(owner, request);
    case "POST /_isotope/drain":
      owner.drain();
      return jsonReply(200, podStatus(pod));
    default:
      return failure(404, "route_miss", `There is no control call "${call}"`);
  }
}
