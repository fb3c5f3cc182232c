import { toView, viewText } from "../api/api-core.ts";
import { ApiError, badRequest } from "../api/api-error.ts";
import { apiVersionOf, type ResourceDefinition } from "../api/resource.ts";
import { parseSelectors } from "../api/selectors.ts";
import type { JsonObject } from "../store/kube-object.ts";
import type { ObjectTable, StoredObject } from "../store/object-table.ts";
import { toPartialMetadata, toTable, type IncludeObject } from "../tables/table.ts";
import { negotiate } from "./accept.ts";
import { type Exchange, type ResourceRequest, wholeNumber } from "./exchange.ts";
import { sendJson, sendPieces } from "./respond.ts";

/** Where a list goes on: after `after`, as of `rv` (0 when that version is no longer vouched for). */
interface ContinueToken {
  rv: number;
  after: string;
}

function readToken(text: string): ContinueToken {
  try {
    const token: Partial<ContinueToken> = JSON.parse(Buffer.from(text, "base64url").toString());
    if (typeof token.rv === "number" && typeof token.after === "string")
      return { rv: token.rv, after: token.after };
  } catch {
    // Falls through to the refusal below.
  }
  throw badRequest("continue key is not valid: it must be the value that an earlier list returned");
}

const writeToken = (token: ContinueToken): string => Buffer.from(JSON.stringify(token)).toString("base64url");

interface Page {
  items: StoredObject[];
  metadata: JsonObject;
}

/**
 * Collects one page. Later pages show the present state under the first page's version: a watch from that
 * version then delivers all that changed in between, so nothing is missed.
 */
function collect(exchange: Exchange, target: ResourceRequest): Page {
  const { table } = exchange.service.core;
  const { query } = exchange;
  const { storage } = target.definition;
  const limit = wholeNumber(query, "limit") ?? 0;
  if (limit < 0) throw badRequest(`limit must be 0 or more, got ${limit}`);
  const token = query.get("continue") ? readToken(query.get("continue") ?? "") : undefined;
  assertVersion(table, query, token);
  const fieldSelector = nameSelector(target, query.get("fieldSelector"));
  const test = parseSelectors(storage, query.get("labelSelector") ?? undefined, fieldSelector);
  const items: StoredObject[] = [];
  const resourceVersion = token && token.rv > 0 ? token.rv : table.resourceVersion;
  let more: string | undefined;
  let remaining = 0;
  for (const stored of table.list(storage, target.namespace, token?.after)) {
    if (test && !test(stored.object)) continue;
    if (limit > 0 && items.length >= limit) {
      more ??= items.at(-1)?.key;
      remaining++;
      if (test) break;
    } else items.push(stored);
  }
  return {
    items,
    metadata: {
      resourceVersion: String(resourceVersion),
      ...(more === undefined ? {} : { continue: writeToken({ rv: resourceVersion, after: more }) }),
      ...(more === undefined || test ? {} : { remainingItemCount: remaining }),
    },
  };
}

const nameSelector = (target: ResourceRequest, fieldSelector: string | null): string | undefined => {
  if (target.name === undefined) return fieldSelector ?? undefined;
  const own = `metadata.name=${target.name}`;
  return fieldSelector ? `${own},${fieldSelector}` : own;
};

function assertVersion(table: ObjectTable, query: URLSearchParams, token: ContinueToken | undefined): void {
  if (token) {
    if (token.rv === 0) return;
    try {
      table.assertServable(token.rv);
    } catch {
      throw new ExpiredContinue(writeToken({ rv: 0, after: token.after }));
    }
    return;
  }
  const text = query.get("resourceVersion") ?? "";
  if (text === "" || text === "0") return;
  const version = parseVersion(text);
  if (version > table.resourceVersion) {
    throw new ApiError(
      504,
      "Timeout",
      `Too large resource version: ${version}, current: ${table.resourceVersion}`,
      {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    );
  }
  if (query.get("resourceVersionMatch") === "Exact" && version !== table.resourceVersion) {
    throw new ApiError(410, "Expired", `The resourceVersion for the provided list is too old: ${version}`);
  }
}

/** Throws 400 unless it is one of the server's version numbers. */
export function parseVersion(text: string): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw badRequest(
      `invalid resource version "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`,
    );
  }
  return Number(text);
}

class ExpiredContinue extends ApiError {
  readonly token: string;

  constructor(token: string) {
    super(
      410,
      "Expired",
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    this.token = token;
  }

  override toStatus() {
    return { ...super.toStatus(), metadata: { continue: this.token } };
  }
}

/** Answers GET on a collection. */
export async function handleList(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { service, response } = exchange;
  const { definition } = target;
  const representation = negotiate(exchange.request);
  const page = collect(exchange, target);
  const settled = service.core.table.pending();
  if (settled) await settled;
  if (representation.shape === "table") {
    const objects = page.items.map((stored) => toView(definition, stored.object));
    const table = toTable(
      definition,
      objects,
      page.metadata,
      includeObject(exchange.query),
      service.core.nowMs(),
    );
    sendJson(response, 200, table, representation.format);
    return;
  }
  if (representation.shape === "metadata") {
    const items = page.items.map((stored) => toPartialMetadata(toView(definition, stored.object)));
    const list = {
      kind: "PartialObjectMetadataList",
      apiVersion: "meta.k8s.io/v1",
      metadata: page.metadata,
      items,
    };
    sendJson(response, 200, list, representation.format);
    return;
  }
  if (representation.format === "yaml") {
    sendJson(response, 200, [...listPieces(definition, page)].join(""), "yaml");
    return;
  }
  await sendPieces(response, listPieces(definition, page));
}

function* listPieces(definition: ResourceDefinition, page: Page): Generator<string> {
  const head = { kind: definition.listKind, apiVersion: apiVersionOf(definition), metadata: page.metadata };
  yield `${JSON.stringify(head).slice(0, -1)},"items":[`;
  let separator = "";
  for (const stored of page.items) {
    yield separator + viewText(definition, stored);
    separator = ",";
  }
  yield "]}\n";
}

export function includeObject(query: URLSearchParams): IncludeObject {
  const value = query.get("includeObject");
  return value === "None" || value === "Object" ? value : "Metadata";
}
