import type { Readable } from "node:stream";
import { type KubeConnection, loadKubeConnection } from "./connection.ts";
import type { NamespaceScope } from "./scope.ts";
import { isNotFound, KubeError, kubeErrorOf } from "./kube-error.ts";
import type { KubeObject, ObjectRef } from "./object.ts";
import { collectionPath, objectPath, type ResourceType } from "./resource.ts";
import { sleep } from "./sleep.ts";
import { runWatch, type WatchOptions, type WatchResult } from "./watch.ts";

export interface Selectors {
  /** All namespaces when left out. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
}
export interface ListOptions extends Selectors {
  limit?: number;
  continue?: string | undefined;
  resourceVersion?: string | undefined;
  signal?: AbortSignal | undefined;
}
export interface KubeList<T> {
  items: T[];
  resourceVersion: string;
  /** Token for the next page; empty on the last. */
  continue: string;
}
export interface CallOptions {
  dryRun?: boolean;
  fieldManager?: string;
  signal?: AbortSignal | undefined;
}
export type PatchStrategy = "merge" | "json" | "strategic" | "apply";
export interface PatchOptions extends CallOptions {
  /** Default "merge" (RFC 7386), the one form that every kind accepts. */
  strategy?: PatchStrategy;
  subresource?: string;
  /** Server-side apply only: take over fields of other managers. */
  force?: boolean;
}
export interface DeleteOptions extends CallOptions {
  propagation?: "Background" | "Foreground" | "Orphan";
  gracePeriodSeconds?: number;
  /** Refuse with a Conflict when the object is another one by now. */
  preconditions?: { uid?: string | undefined; resourceVersion?: string | undefined };
}
export interface RawRequest {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  contentType?: string;
  signal?: AbortSignal | undefined;
}

/** Typed access to any kind. Every method throws `KubeError`. */
export interface KubeClient {
  readonly namespace: string;
  readonly server: string;
  /** The namespaces that lists and informers over all namespaces are limited to (`scopedClient`); absent = no limit. */
  readonly scope?: NamespaceScope;
  get<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, options?: CallOptions): Promise<T>;
  /** Like `get`, but nothing instead of NotFound. */
  find<T extends KubeObject>(
    type: ResourceType<T>,
    ref: ObjectRef,
    options?: CallOptions,
  ): Promise<T | undefined>;
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<KubeList<T>>;
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: CallOptions): Promise<T>;
  /** Replaces the object; the resourceVersion in it makes the write conditional. */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, options?: CallOptions): Promise<T>;
  updateStatus<T extends KubeObject>(type: ResourceType<T>, object: T, options?: CallOptions): Promise<T>;
  patch<T extends KubeObject>(
    type: ResourceType<T>,
    ref: ObjectRef,
    body: unknown,
    options?: PatchOptions,
  ): Promise<T>;
  /** Merge-patches the status subresource with `{status}`; `resourceVersion` makes the write conditional. */
  patchStatus<T extends KubeObject>(
    type: ResourceType<T>,
    ref: ObjectRef,
    status: unknown,
    options?: CallOptions & { resourceVersion?: string | undefined },
  ): Promise<T>;
  /** Asks for deletion; an object that is gone already is no error. */
  delete(type: ResourceType, ref: ObjectRef, options?: DeleteOptions): Promise<void>;
  deleteCollection(
    type: ResourceType,
    selectors: Selectors & { namespace: string },
    options?: DeleteOptions,
  ): Promise<void>;
  /** Streams changes until the server ends the watch, it fails, or `signal` aborts. Informers build on it. */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions<T>): Promise<WatchResult>;
  /** Any other JSON call, e.g. TokenReview or `/version`. */
  request(request: RawRequest): Promise<unknown>;
  /** The same with the body left as a stream, e.g. pod logs. */
  stream(request: RawRequest): Promise<Readable>;
  /** Closes all connections; running calls fail. */
  close(): Promise<void>;
}

const CONTENT_TYPES: Record<PatchStrategy, string> = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};
const USER_AGENT = "isotope";
const MAX_THROTTLED_TRIES = 5;
const CALL_TIMEOUT_MS = 30_000;

/** A client from a kubeconfig file, `$KUBECONFIG`, the pod's service account or `~/.kube/config`, in this order. */
export async function createKubeClient(
  options: { kubeconfig?: string | undefined; context?: string | undefined } = {},
): Promise<KubeClient> {
  return kubeClientOf(await loadKubeConnection(options));
}

/** A client over a given connection. */
export function kubeClientOf(connection: KubeConnection): KubeClient {
  const json: JsonCall = async (request) => {
    const { body } = await sendRequest(connection, request);
    // The one place where the API server's JSON is taken at its word: it has validated every object by its schema.
    const text = await body.text().catch((error: unknown) => {
      throw connectionError(request, error);
    });
    return JSON.parse(text);
  };
  return {
    namespace: connection.namespace,
    server: connection.server,
    ...readersOver(json),
    ...writersOver(json),
    watch: (type, options) =>
      runWatch(async (query, signal) => {
        const path = collectionPath(type, options.namespace);
        return (await sendRequest(connection, { method: "GET", path, query, signal }, 0)).body;
      }, options),
    request: (request) => json(request),
    stream: async (request) => (await sendRequest(connection, request, 0)).body,
    close: () => connection.dispatcher.destroy(),
  };
}

type JsonCall = <T>(request: RawRequest) => Promise<T>;

function readersOver(json: JsonCall): Pick<KubeClient, "get" | "find" | "list"> {
  const get: KubeClient["get"] = (type, ref, options) =>
    json({ method: "GET", path: objectPath(type, ref), signal: options?.signal });
  return {
    get,
    find: async (type, ref, options) => {
      try {
        return await get(type, ref, options);
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    list: async <T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}) => {
      const { namespace, signal, ...query } = options;
      const body = await json<{ items?: T[]; metadata?: { resourceVersion?: string; continue?: string } }>({
        method: "GET",
        path: collectionPath(type, namespace),
        query: { ...query },
        signal,
      });
      return {
        items: body.items ?? [],
        resourceVersion: body.metadata?.resourceVersion ?? "",
        continue: body.metadata?.continue ?? "",
      };
    },
  };
}

type Writers = Pick<
  KubeClient,
  "create" | "update" | "updateStatus" | "patch" | "patchStatus" | "delete" | "deleteCollection"
>;

function writersOver(json: JsonCall): Writers {
  const write = (options: CallOptions = {}) => ({
    query: { dryRun: options.dryRun ? "All" : undefined, fieldManager: options.fieldManager },
    signal: options.signal,
  });
  const patch: KubeClient["patch"] = (type, ref, body, options = {}) => {
    const base = write(options);
    return json({
      method: "PATCH",
      path: objectPath(type, ref, options.subresource),
      body,
      contentType: CONTENT_TYPES[options.strategy ?? "merge"],
      ...base,
      query: { ...base.query, force: options.force },
    });
  };
  const remove = async (path: string, options: DeleteOptions, query?: RawRequest["query"]): Promise<void> => {
    try {
      await json({
        method: "DELETE",
        path,
        body: deleteBody(options),
        signal: options.signal,
        ...(query ? { query } : {}),
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  };
  return {
    create: (type, object, options) =>
      json({
        method: "POST",
        path: collectionPath(type, object.metadata.namespace),
        body: { ...object, apiVersion: type.apiVersion, kind: type.kind },
        ...write(options),
      }),
    update: (type, object, options) =>
      json({ method: "PUT", path: objectPath(type, object.metadata), body: object, ...write(options) }),
    updateStatus: (type, object, options) =>
      json({
        method: "PUT",
        path: objectPath(type, object.metadata, "status"),
        body: object,
        ...write(options),
      }),
    patch,
    patchStatus: (type, ref, status, options = {}) => {
      const { resourceVersion, ...rest } = options;
      const body = resourceVersion ? { metadata: { resourceVersion }, status } : { status };
      return patch(type, ref, body, { ...rest, subresource: "status" });
    },
    delete: (type, ref, options = {}) => remove(objectPath(type, ref), options),
    deleteCollection: (type, { namespace, ...query }, options = {}) =>
      remove(collectionPath(type, namespace), options, query),
  };
}

function deleteBody(options: DeleteOptions): unknown {
  return {
    apiVersion: "v1",
    kind: "DeleteOptions",
    ...(options.propagation ? { propagationPolicy: options.propagation } : {}),
    ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
    ...(options.preconditions ? { preconditions: options.preconditions } : {}),
    ...(options.dryRun ? { dryRun: ["All"] } : {}),
  };
}

type Reply = Awaited<ReturnType<KubeConnection["dispatcher"]["request"]>>;

/**
 * Sends one call. A throttled call (429: not processed) is sent again after the server's Retry-After. A call that meets a connection
 * which the server had closed meanwhile is sent once more, unless it is a POST: done twice, the others have the effect of once, or
 * end in a Conflict when they were conditional.
 */
async function sendRequest(
  connection: KubeConnection,
  request: RawRequest,
  bodyTimeoutMs = CALL_TIMEOUT_MS,
): Promise<Reply> {
  let reconnects = request.method === "POST" ? 0 : 1;
  for (let attempt = 1; ; attempt++) {
    let reply: Reply;
    try {
      reply = await dispatch(connection, request, bodyTimeoutMs);
    } catch (error) {
      if (request.signal?.aborted) throw connectionError(request, error);
      if (reconnects-- > 0) continue;
      throw connectionError(request, error);
    }
    if (reply.statusCode < 300) return reply;
    const text = await reply.body.text().catch(() => "");
    const retryAfter = reply.headers["retry-after"];
    const error = kubeErrorOf(
      reply.statusCode,
      text,
      typeof retryAfter === "string" ? retryAfter : undefined,
    );
    if (error.status !== 429 || error.retryAfterMs === undefined || attempt >= MAX_THROTTLED_TRIES)
      throw error;
    await sleep(Math.min(error.retryAfterMs, 10_000), request.signal);
  }
}

async function dispatch(
  connection: KubeConnection,
  request: RawRequest,
  bodyTimeoutMs: number,
): Promise<Reply> {
  const authorization = await connection.authorization();
  const url = new URL(connection.server);
  return connection.dispatcher.request({
    origin: url.origin,
    path: (url.pathname === "/" ? "" : url.pathname) + request.path + queryString(request.query),
    method: request.method,
    headers: {
      accept: "application/json",
      "user-agent": USER_AGENT,
      ...(authorization ? { authorization } : {}),
      ...(request.body === undefined ? {} : { "content-type": request.contentType ?? "application/json" }),
    },
    body: request.body === undefined ? null : JSON.stringify(request.body),
    signal: request.signal ?? null,
    headersTimeout: CALL_TIMEOUT_MS,
    bodyTimeout: bodyTimeoutMs,
  });
}

function queryString(query: RawRequest["query"]): string {
  if (!query) return "";
  const parts: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "")
      parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  }
  return parts.length > 0 ? `?${parts.join("&")}` : "";
}

function connectionError(request: RawRequest, error: unknown): KubeError {
  const what = `${request.method} ${request.path}`;
  if (request.signal?.aborted)
    return new KubeError(0, "Aborted", `Call ${what} was aborted`, { cause: error });
  const reason = error instanceof Error ? error.message || error.name : String(error);
  return new KubeError(0, "ConnectionFailed", `Cannot reach the Kubernetes API (${what}): ${reason}`, {
    cause: error,
  });
}
