/**
 * The pod's one HTTP handler: a request with `x-isotope-pod` is a user request whatever its path; one without is a control call, a
 * specialise, or (under the reference system's contract only) a user request.
 */
import { HEADER_POD } from "../../api/headers.ts";
import { readBody } from "./bytes.ts";
import { type ControlOwner, control } from "./control.ts";
import type { Running } from "./deadlines.ts";
import { describeError } from "./intercept.ts";
import type { Log } from "./log.ts";
import type { Pod } from "./pod.ts";
import {
  headersGet,
  NativeResponse,
  now,
  randomUuid,
  requestHeaders,
  requestMethod,
  requestUrl,
  stringIndexOf,
  stringSlice,
  stringStartsWith,
  utf8Text,
} from "./primordials.ts";
import { errorReply, refusalReply } from "./reply.ts";
import { createRequestScope } from "./request-scope.ts";
import { type SpecializeOwner, specialize } from "./specialize.ts";
import { createUserCalls, userCall } from "./user-calls.ts";

export interface PodServer {
  handle(request: Request, info: Deno.ServeHandlerInfo): Response | Promise<Response>;
  /** The error of a reply that could not be sent, for `Deno.serve`. */
  onError(error: unknown): Response;
  /** Id of the request whose code runs. */
  requestId(): string | undefined;
  readonly running: Running;
}

export interface PodServerOptions {
  readonly pod: Pod;
  readonly token: string;
  readonly log: Log;
  readonly drain: () => void;
  readonly ready: () => boolean;
  readonly specialization: Omit<SpecializeOwner, "assign">;
}

/** Path of an absolute URL, without the query. */
function pathOf(url: string): string {
  const from = stringIndexOf(url, "/", stringIndexOf(url, "://") + 3);
  const query = stringIndexOf(url, "?", from);
  return query === -1 ? stringSlice(url, from) : stringSlice(url, from, query);
}

function genericReply(path: string): Response {
  return path === "/healthz"
    ? new NativeResponse("OK")
    : new NativeResponse("Generic container: no requests supported", { status: 500 });
}

export function createPodServer(options: PodServerOptions): PodServer {
  const { pod, log } = options;
  const scope = createRequestScope();
  const calls = createUserCalls(pod, log, scope);
  const controlOwner: ControlOwner = {
    pod,
    token: options.token,
    ready: options.ready,
    drain: options.drain,
    text: async (request, limit) => {
      const bytes = await readBody(request, limit);
      return bytes === null ? null : utf8Text(bytes);
    },
  };
  const specializeOwner: SpecializeOwner = {
    ...options.specialization,
    assign: (assignment, invoke) => {
      calls.service = { ...assignment, invoke };
      pod.assignment = assignment;
      pod.idleSince = now();
      pod.state = "specialised";
    },
  };
  return {
    handle: (request, info) => {
      const podUid = headersGet(requestHeaders(request), HEADER_POD);
      if (podUid !== null) return userCall(calls, request, info, podUid);
      const path = pathOf(requestUrl(request));
      if (stringStartsWith(path, "/_isotope/")) return control(controlOwner, request, path);
      if (calls.service !== null && calls.service.revision === null)
        return userCall(calls, request, info, null);
      if (requestMethod(request) === "POST" && (path === "/v2/specialize" || path === "/specialize")) {
        return specialize(specializeOwner, request, path);
      }
      return pod.state === "generic" || pod.state === "specialising"
        ? genericReply(path)
        : refusalReply("wrong-pod");
    },
    onError: (error) => {
      const { message, stack } = describeError(error);
      log.write("error", `Cannot send the reply: ${message}`, { stack });
      return errorReply(500, "function_error", scope.current()?.requestId ?? randomUuid());
    },
    requestId: () => scope.current()?.requestId,
    running: calls.running,
  };
}
