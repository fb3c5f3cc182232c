import { requireStored } from "../api/api-core.ts";
import { ApiError, badRequest, methodNotAllowed } from "../api/api-error.ts";
import type { PodLogOptions } from "../logs/pod-logs.ts";
import { plainObjects } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { type Exchange, flag, type ResourceRequest, wholeNumber } from "./exchange.ts";
import { placeOf } from "./object-handlers.ts";

function containerNames(pod: KubeObject): string[] {
  return ["initContainers", "containers", "ephemeralContainers"].flatMap((list) => {
    return plainObjects(pod.spec?.[list]).map((container) => String(container.name));
  });
}

/** The container to read: the only one, or the one asked for. Throws 400 when there is no such or a choice. */
function chosenContainer(pod: KubeObject, wanted: string | null): string {
  const names = containerNames(pod);
  const { name } = pod.metadata;
  if (wanted) {
    if (names.includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  const byAnnotation = pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"];
  if (byAnnotation && names.includes(byAnnotation)) return byAnnotation;
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return only;
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${names.join(" ")}]`);
}

function logOptions(query: URLSearchParams, container: string): PodLogOptions {
  const tailLines = wholeNumber(query, "tailLines");
  const sinceSeconds = wholeNumber(query, "sinceSeconds");
  const limitBytes = wholeNumber(query, "limitBytes");
  const sinceTime = query.get("sinceTime");
  const invalid = (field: string, value: unknown, why: string): ApiError =>
    new ApiError(
      422,
      "Invalid",
      `PodLogOptions "" is invalid: ${field}: Invalid value: ${String(value)}: ${why}`,
      {
        kind: "PodLogOptions",
        causes: [{ reason: "FieldValueInvalid", field, message: `Invalid value: ${String(value)}: ${why}` }],
      },
    );
  if (tailLines !== undefined && tailLines < 0)
    throw invalid("tailLines", tailLines, "must be greater than or equal to 0");
  if (sinceSeconds !== undefined && sinceSeconds < 1)
    throw invalid("sinceSeconds", sinceSeconds, "must be greater than 0");
  if (limitBytes !== undefined && limitBytes < 1)
    throw invalid("limitBytes", limitBytes, "must be greater than 0");
  if (sinceTime !== null && Number.isNaN(Date.parse(sinceTime)))
    throw badRequest(`sinceTime must be RFC 3339, got "${sinceTime}"`);
  if (sinceTime !== null && sinceSeconds !== undefined) {
    throw invalid(
      "sinceSeconds",
      sinceSeconds,
      "at most one of `sinceTime` or `sinceSeconds` may be specified",
    );
  }
  return {
    container,
    follow: flag(query, "follow"),
    previous: flag(query, "previous"),
    timestamps: flag(query, "timestamps"),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
    ...(sinceTime === null ? {} : { sinceTime }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
  };
}

/** Answers GET on `/pods/<name>/log` with text, as it comes when followed. */
export async function handleLog(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { service, request, response, query } = exchange;
  if (request.method !== "GET") throw methodNotAllowed();
  const pod = requireStored(service.core, placeOf(target)).object;
  const options = logOptions(query, chosenContainer(pod, query.get("container")));
  if (!service.logs)
    throw new ApiError(503, "ServiceUnavailable", "no kubelet runs here: there are no logs to read");
  const leaving = new AbortController();
  response.on("close", () => leaving.abort());
  const signal = AbortSignal.any([leaving.signal, service.stopping]);
  const chunks = await service.logs.open(pod, options, signal);
  response.writeHead(200, { "Content-Type": "text/plain", "Cache-Control": "no-cache, private" });
  response.flushHeaders();
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  try {
    for await (const chunk of chunks) {
      if (response.destroyed || left <= 0) break;
      const piece = chunk.length > left ? chunk.subarray(0, left) : chunk;
      left -= piece.length;
      if (!response.write(piece))
        await new Promise<void>((resolve) => {
          response.once("drain", resolve);
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
    }
  } catch (error) {
    if (!signal.aborted) service.log(`log of pod "${pod.metadata.name}" broke off: ${String(error)}`);
  }
  response.end();
}
