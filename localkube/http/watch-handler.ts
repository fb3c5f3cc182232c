/**
 * Invariants:
 * 1. Headers leave at once: some clients only report the watch as started then.
 * 2. A selection sees a consistent story: an object that leaves it is DELETED, one that enters is ADDED.
 * 3. A reader that does not keep up is cut off and resumes from its last version; memory stays bounded.
 */
import { toView, viewText } from "../api/api-core.ts";
import { ApiError, invalidObject } from "../api/api-error.ts";
import { apiVersionOf, type ResourceDefinition } from "../api/resource.ts";
import { type ObjectTest, parseSelectors } from "../api/selectors.ts";
import type { Json, KubeObject } from "../store/kube-object.ts";
import type { StoredObject, TableEvent } from "../store/object-table.ts";
import type { WatchEventType } from "../store/store.ts";
import { toPartialMetadata, toTable } from "../tables/table.ts";
import { negotiate, type Shape } from "./accept.ts";
import { type Exchange, flag, type ResourceRequest, wholeNumber } from "./exchange.ts";
import { includeObject, parseVersion } from "./list-handler.ts";

const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;
const LONGEST_SECONDS = 3600;
const WATCH_HEADERS = { "Content-Type": "application/json", "Cache-Control": "no-cache, private" };

interface Stream {
  exchange: Exchange;
  definition: ResourceDefinition;
  shape: Shape;
  namespace: string | undefined;
  test: ObjectTest | undefined;
  bookmarks: boolean;
}

/** Encoded lines per event, shared by all watchers that want the plain object. */
const encoded = new WeakMap<TableEvent, Map<string, Buffer>>();

/** Answers `?watch=true`: a line of JSON per event until the client leaves or the time is over. */
export async function handleWatch(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { query, response, service } = exchange;
  const { table } = service.core;
  const fieldSelector = [query.get("fieldSelector"), target.name && `metadata.name=${target.name}`]
    .filter((part) => part)
    .join(",");
  const stream: Stream = {
    exchange,
    definition: target.definition,
    shape: negotiate(exchange.request).shape,
    namespace: target.namespace,
    test: parseSelectors(
      target.definition.storage,
      query.get("labelSelector") ?? undefined,
      fieldSelector || undefined,
    ),
    bookmarks: flag(query, "allowWatchBookmarks"),
  };
  const start = startOf(query);
  const fromRv = start.rv ?? table.resourceVersion;
  const timeoutSeconds = wholeNumber(query, "timeoutSeconds") || 1800 + Math.floor(Math.random() * 1800);
  const expiry = expiryOf(() => table.assertServable(fromRv));
  if (expiry) {
    // As an event: the server of Kubernetes knows it only once the watch has started, and its clients read it there.
    response.writeHead(200, WATCH_HEADERS);
    response.end(`${JSON.stringify({ type: "ERROR", object: expiry.toStatus() })}\n`);
    return;
  }
  const initial = start.initialEvents
    ? [...table.list(target.definition.storage, target.namespace)].filter(
        (stored) => !stream.test || stream.test(stored.object),
      )
    : [];
  // What is shown first must be on disk: a version that a crash takes back would be handed out twice.
  await table.pending();
  if (response.closed) return;
  response.writeHead(200, WATCH_HEADERS);
  response.flushHeaders();
  for (const stored of initial) response.write(line(stream, "ADDED", stored));
  if (start.marksEnd) response.write(bookmark(stream, fromRv, true));
  const end = table.watch(target.definition.storage, fromRv, (event) => deliver(stream, event));
  const quiet = setInterval(() => {
    // Everything up to the newest version has been delivered, unless a commit is still to come.
    if (table.pending()) response.write("\n");
    else response.write(stream.bookmarks ? bookmark(stream, table.resourceVersion, false) : "\n");
  }, service.quietWatchMs);
  const finish = (): void => {
    response.end();
  };
  const limit = setTimeout(finish, Math.min(timeoutSeconds, LONGEST_SECONDS) * 1000);
  service.stopping.addEventListener("abort", finish, { once: true });
  response.on("close", () => {
    end();
    clearInterval(quiet);
    clearTimeout(limit);
    service.stopping.removeEventListener("abort", finish);
  });
}

function expiryOf(check: () => void): ApiError | undefined {
  try {
    check();
  } catch (error) {
    if (error instanceof ApiError && error.reason === "Expired") return error;
    throw error;
  }
  return undefined;
}

interface Start {
  /** Undefined: from the present state. */
  rv: number | undefined;
  initialEvents: boolean;
  marksEnd: boolean;
}

function startOf(query: URLSearchParams): Start {
  const version = query.get("resourceVersion") ?? "";
  const match = query.get("resourceVersionMatch");
  const send = query.get("sendInitialEvents");
  if (send === null) {
    if (match) {
      throw invalidOptions(
        "resourceVersionMatch",
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
      );
    }
    const fromNow = version === "" || version === "0";
    return { rv: fromNow ? undefined : parseVersion(version), initialEvents: fromNow, marksEnd: false };
  }
  if (match !== "NotOlderThan") {
    throw invalidOptions(
      "resourceVersionMatch",
      "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
  }
  if (flag(query, "sendInitialEvents")) {
    if (version !== "" && version !== "0") parseVersion(version);
    return { rv: undefined, initialEvents: true, marksEnd: flag(query, "allowWatchBookmarks") };
  }
  return {
    rv: version === "" || version === "0" ? undefined : parseVersion(version),
    initialEvents: false,
    marksEnd: false,
  };
}

const invalidOptions = (field: string, why: string): ApiError =>
  invalidObject({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
    { reason: "FieldValueForbidden", field, message: `Forbidden: ${why}` },
  ]);

function deliver(stream: Stream, event: TableEvent): void {
  const { response } = stream.exchange;
  const type = typeFor(stream, event);
  if (!type || response.writableEnded) return;
  if (response.writableLength > MAX_BUFFERED_BYTES) {
    response.destroy();
    return;
  }
  if (stream.shape === "object") response.write(sharedLine(stream.definition, type, event));
  else response.write(line(stream, type, event.current));
}

/** What the event is to this selection; undefined when it does not concern it. */
function typeFor(stream: Stream, event: TableEvent): WatchEventType | undefined {
  const { namespace, test } = stream;
  if (namespace !== undefined && !event.current.key.startsWith(`${namespace}/`)) return undefined;
  if (!test) return event.type;
  // Without a known previous state the object may have been in the selection.
  const was = event.type === "ADDED" ? false : event.previous ? test(event.previous.object) : true;
  if (event.type === "DELETED") return was ? "DELETED" : undefined;
  const is = test(event.current.object);
  if (is) return was ? "MODIFIED" : "ADDED";
  return was ? "DELETED" : undefined;
}

function sharedLine(definition: ResourceDefinition, type: WatchEventType, event: TableEvent): Buffer {
  const key = `${type} ${apiVersionOf(definition)}`;
  let lines = encoded.get(event);
  if (!lines) {
    lines = new Map();
    encoded.set(event, lines);
  }
  let bytes = lines.get(key);
  if (!bytes) {
    bytes = Buffer.from(`{"type":"${type}","object":${viewText(definition, event.current)}}\n`);
    lines.set(key, bytes);
  }
  return bytes;
}

function line(stream: Stream, type: WatchEventType, stored: StoredObject): string {
  if (stream.shape === "object") {
    return `{"type":"${type}","object":${viewText(stream.definition, stored)}}\n`;
  }
  return `${JSON.stringify({ type, object: shaped(stream, toView(stream.definition, stored.object)) })}\n`;
}

function shaped(stream: Stream, object: KubeObject): Json {
  const { exchange, definition } = stream;
  if (stream.shape === "metadata") return toPartialMetadata(object);
  const metadata = { resourceVersion: object.metadata.resourceVersion };
  const nowMs = exchange.service.core.nowMs();
  return toTable(definition, [object], metadata, includeObject(exchange.query), nowMs);
}

function bookmark(stream: Stream, rv: number, endsInitialEvents: boolean): string {
  const metadata = {
    resourceVersion: String(rv),
    creationTimestamp: null,
    ...(endsInitialEvents ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
  };
  const object =
    stream.shape === "table"
      ? {
          kind: "Table",
          apiVersion: "meta.k8s.io/v1",
          metadata: { resourceVersion: String(rv) },
          columnDefinitions: [],
          rows: [
            { cells: [], object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata } },
          ],
        }
      : stream.shape === "metadata"
        ? { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata }
        : { kind: stream.definition.kind, apiVersion: apiVersionOf(stream.definition), metadata };
  return `${JSON.stringify({ type: "BOOKMARK", object })}\n`;
}
