import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../../api/errors.ts";
import {
  DeadLetterQuery,
  DeadLetterSelection,
  INVOCATION_CONTENT_TYPE,
  InvocationId,
  InvocationQuery,
  MAX_INVOCATION_BYTES,
  MAX_INVOCATION_HEAD_BYTES,
  NewInvocation,
} from "../../../api/wire/invocations.ts";
import { normalizedEvent } from "../delivery/cloud-event.ts";
import type { AcceptInvocation } from "./accept.ts";
import { queueOf } from "./invocation-id.ts";
import { invocationView } from "./invocation-view.ts";
import type { Invocation, InvocationJournal, InvocationResult } from "./journal.ts";
import { redriveDeadLetters, removeAll } from "./redrive-dead-letters.ts";
import type { Spills } from "./spills.ts";

export interface InvocationRoutesDeps {
  readonly accept: AcceptInvocation;
  readonly journal: InvocationJournal;
  readonly spills: Spills;
}

const HEAD_LENGTH_BYTES = 4;
/** Dead letters that one call redrives or purges. */
const SELECTED_AT_ONCE = 1_000;

const Address = z.object({ namespace: z.string().max(63), id: InvocationId });

/** `/v1/invocations` and `/v1/dlq`: see `api/wire/invocations.ts`. */
export function invocationRoutes(app: FastifyInstance, deps: InvocationRoutesDeps): void {
  const { accept, journal, spills } = deps;
  app.addContentTypeParser(
    INVOCATION_CONTENT_TYPE,
    { parseAs: "buffer", bodyLimit: HEAD_LENGTH_BYTES + MAX_INVOCATION_HEAD_BYTES + MAX_INVOCATION_BYTES },
    (_request, body, done) => done(null, body),
  );

  app.post("/v1/invocations", async (request, reply) => {
    const { head, body } = splitMessage(request.body);
    const { namespace, method, path, target, pinned, source, dedupKey, delayMs } = head;
    const { headers, body: content, key } = normalizedEvent(head.headers, body);
    const known = dedupKey ?? key;
    const accepted = await accept({
      event: { id: "", namespace, method, path, headers, body: content },
      target,
      source,
      ...(pinned === true ? { pinned } : {}),
      ...(known === undefined ? {} : { dedupKey: known }),
      ...(delayMs === undefined ? {} : { delayMs }),
    });
    return reply.code(202).send({ invocationId: accepted.id, duplicate: accepted.duplicate });
  });

  app.get("/v1/invocations", async (request) => {
    const query = parsed(InvocationQuery, request.query);
    return listed(journal, query);
  });

  app.get("/v1/invocations/:namespace/:id", async (request) => {
    const invocation = await existing(journal, request);
    const { payload } = parsed(z.object({ payload: z.string().optional() }), request.query);
    return invocationView(
      invocation,
      payload === "true" ? { body: await bodyOf(invocation, spills) } : undefined,
    );
  });

  app.get("/v1/invocations/:namespace/:id/result", async (request, reply) => {
    const { result, status, id } = await existing(journal, request);
    if (!result)
      throw new PlatformError("invocation_not_found", `Invocation "${id}" has no result: it is ${status}`);
    const { content, bytes } = await contentOf(id, result, spills);
    return reply
      .header("content-type", result.headers["content-type"] ?? "application/octet-stream")
      .header("content-length", bytes)
      .header("x-isotope-status", result.status)
      .send(content);
  });

  app.post("/v1/invocations/:namespace/:id/cancel", async (request, reply) => {
    const { id, spill } = await existing(journal, request);
    if ((await journal.cancel(id)) === "cancelled" && spill !== undefined) {
      // What cannot be removed now is removed with the record.
      const removed = await spills.remove(spill).then(
        () => true,
        () => false,
      );
      if (removed) await journal.unspilled(id);
    }
    return reply.code(202).send(invocationView(await existing(journal, request)));
  });

  app.get("/v1/dlq", async (request) => {
    const query = parsed(DeadLetterQuery, request.query);
    return listed(journal, { ...query, status: "dead" });
  });
  app.post("/v1/dlq/redrive", async (request) => {
    const { ids, ...more } = await selected(journal, parsed(DeadLetterSelection, request.body));
    return { count: await redriveDeadLetters(journal, spills, ids), ...more };
  });
  app.post("/v1/dlq/purge", async (request) => {
    const { ids, ...more } = await selected(journal, parsed(DeadLetterSelection, request.body));
    const gone = await journal.purge(ids);
    await removeAll(spills, gone.spills);
    return { count: gone.count, ...more };
  });
}

/** What the function answered, wherever it is. */
async function contentOf(
  id: string,
  { body, elsewhere }: InvocationResult,
  spills: Pick<Spills, "open">,
): Promise<{ content: Buffer | Readable; bytes: number }> {
  if (!elsewhere) return { content: Buffer.from(body), bytes: body.length };
  const { bytes, spill, lost } = elsewhere;
  const opened = spill === undefined ? undefined : await spills.open(spill);
  if (opened) return { content: opened.content, bytes };
  throw new PlatformError(
    "payload_not_found",
    `The ${bytes} bytes that invocation "${id}" was answered are not kept${lost === undefined ? " any more" : `: ${lost}`}`,
  );
}

function splitMessage(message: unknown): { head: NewInvocation; body: Buffer } {
  if (!Buffer.isBuffer(message) || message.length < HEAD_LENGTH_BYTES)
    throw new PlatformError(
      "bad_request",
      `Cannot accept an invocation: its content type must be ${INVOCATION_CONTENT_TYPE}`,
    );
  const end = HEAD_LENGTH_BYTES + message.readUInt32BE();
  if (end > message.length || end > HEAD_LENGTH_BYTES + MAX_INVOCATION_HEAD_BYTES)
    throw new PlatformError("bad_request", "Cannot accept an invocation: its head is cut off or too large");
  return {
    head: parsed(NewInvocation, json(message.toString("utf8", HEAD_LENGTH_BYTES, end))),
    body: message.subarray(end),
  };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PlatformError("bad_request", "Cannot accept an invocation: its head is no JSON", { cause });
  }
}

function parsed<T>(shape: z.ZodType<T>, value: unknown): T {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join(".") || "request";
  throw new PlatformError(
    "bad_request",
    `Cannot read the request: ${where}: ${issue?.message ?? "malformed"}`,
  );
}

async function existing(
  journal: InvocationRoutesDeps["journal"],
  { params }: FastifyRequest,
): Promise<Invocation> {
  const address = Address.safeParse(params);
  const invocation = address.success ? await journal.get(address.data.id) : undefined;
  // Of another namespace: it is nobody's business that it exists.
  if (!invocation || invocation.namespace !== address.data?.namespace)
    throw new PlatformError("invocation_not_found");
  return invocation;
}

const queueIn = (
  query: Pick<InvocationQuery | DeadLetterSelection, "namespace" | "function" | "workflow">,
): string | undefined => {
  const { namespace } = query;
  const target = query.function ?? query.workflow;
  if (target === undefined) return undefined;
  if (namespace === undefined)
    throw new PlatformError("bad_request", "Cannot list invocations of a function: its namespace is missing");
  return queueOf(namespace, { type: query.function === undefined ? "workflow" : "name", name: target });
};

async function listed(journal: InvocationRoutesDeps["journal"], query: InvocationQuery) {
  const { namespace, status, source, limit, continue: after } = query;
  const page = await journal.list({
    namespace,
    queue: queueIn(query),
    status,
    source,
    limit,
    continue: after,
  });
  return { ...page, items: page.items.map((invocation) => invocationView(invocation)) };
}

/**
 * Ids of the dead letters that are meant, all of the namespace.
 * @throws {PlatformError} invocation_not_found for ids of none: nothing is changed then
 */
async function selected(
  journal: InvocationRoutesDeps["journal"],
  selection: DeadLetterSelection,
): Promise<{ ids: string[]; continue?: string }> {
  const { namespace, ids, source, continue: after } = selection;
  if (ids) {
    const asked = [...new Set(ids)];
    const found = await Promise.all(asked.map((id) => journal.get(id)));
    const unknown = asked.filter(
      (_, at) => found[at]?.namespace !== namespace || found[at].status !== "dead",
    );
    if (unknown.length === 0) return { ids: asked };
    throw new PlatformError(
      "invocation_not_found",
      `${named(unknown)} no dead letter of namespace "${namespace}"; nothing was changed`,
    );
  }
  const query = { namespace, queue: queueIn(selection), source, limit: SELECTED_AT_ONCE, continue: after };
  const { items, ...more } = await journal.list({ ...query, status: "dead" });
  return { ids: items.map(({ id }) => id), ...more };
}

const NAMED = 5;
function named(ids: readonly string[]): string {
  const shown = ids.slice(0, NAMED).map((id) => `"${id}"`);
  const more = ids.length > NAMED ? ` and ${ids.length - NAMED} more` : "";
  return `${shown.join(", ")}${more} ${ids.length === 1 ? "is" : "are"}`;
}

const bodyOf = async ({ body, spill }: Invocation, spills: Spills): Promise<Uint8Array | undefined> =>
  body ?? (spill === undefined ? undefined : spills.get(spill));
