import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../../api/errors.ts";
import { invocationView } from "./invocation-view.ts";
import type { InvocationJournal, InvocationPage } from "./journal.ts";
import { redriveDeadLetters, removeAll } from "./redrive-dead-letters.ts";
import type { Spills } from "./spills.ts";

const Query = z.object({
  namespace: z.string().max(63).optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  continue: z.string().max(128).optional(),
  id: z.string().max(64).optional(),
  all: z.enum(["true", "false"]).optional(),
  /** All dead letters are of the first one here: what could not be published to a topic yet waits with the invocation that is to tell of it. */
  queue: z
    .string()
    .regex(/^(asyncinv|mq-egress-[a-z0-9-]{1,64})$/, 'must be "asyncinv" or "mq-egress-<type>"')
    .optional(),
});
type Query = z.infer<typeof Query>;
const PREFIX = "/v1/async/dlq";

/**
 * The reference system's dead-letter routes, which its CLI calls on the router's internal listener:
 *
 *   GET  /v1/async/dlq/list?namespace&limit&continue   {items, continue?}
 *   GET  /v1/async/dlq/show?id                          one, with its request
 *   POST /v1/async/dlq/redrive?id | all=true            {count}
 *   POST /v1/async/dlq/purge?namespace                  {count}
 */
export function referenceDeadLetterRoutes(
  app: FastifyInstance,
  { journal, spills }: { readonly journal: InvocationJournal; readonly spills: Spills },
): void {
  const pageOf = async ({ namespace, queue, limit, ...rest }: Query): Promise<InvocationPage> =>
    queue?.startsWith("mq-egress-")
      ? { items: [] }
      : journal.list({ namespace, status: "dead", limit, continue: rest.continue });
  /** All that are meant, a page at a time: those that become dead letters meanwhile are newer, and not among them. */
  const changed = async (
    query: Query,
    change: (ids: readonly string[]) => Promise<number>,
  ): Promise<number> => {
    if (query.id !== undefined) return change([query.id]);
    let count = 0;
    for (let page = await pageOf({ ...query, limit: 1_000 }); ; ) {
      count += await change(page.items.map(({ id }) => id));
      if (page.continue === undefined) return count;
      page = await pageOf({ ...query, limit: 1_000, continue: page.continue });
    }
  };

  app.get(`${PREFIX}/list`, async (request) => {
    const page = await pageOf(queryOf(request));
    return { ...page, items: page.items.map((invocation) => invocationView(invocation)) };
  });
  app.get(`${PREFIX}/show`, async (request) => {
    const { id } = queryOf(request);
    const invocation = id === undefined ? undefined : await journal.get(id);
    if (invocation?.status !== "dead") throw new PlatformError("invocation_not_found");
    const { body, spill } = invocation;
    return invocationView(invocation, {
      body: body ?? (spill === undefined ? undefined : await spills.get(spill)),
    });
  });
  app.post(`${PREFIX}/redrive`, async (request) => {
    const query = queryOf(request);
    if (query.id === undefined && query.all !== "true")
      throw new PlatformError("bad_request", 'Cannot redrive dead letters: "id" or "all=true" is missing');
    return { count: await changed(query, (ids) => redriveDeadLetters(journal, spills, ids)) };
  });
  app.post(`${PREFIX}/purge`, async (request) => {
    const purge = async (ids: readonly string[]): Promise<number> => {
      const gone = await journal.purge(ids);
      await removeAll(spills, gone.spills);
      return gone.count;
    };
    return { count: await changed(queryOf(request), purge) };
  });
}

/** From the query, or a JSON body. */
function queryOf({ query, body }: FastifyRequest): Query {
  const given: Record<string, unknown> = {};
  for (const source of [query, body])
    if (typeof source === "object" && source !== null) Object.assign(given, source);
  const parsed = Query.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new PlatformError(
    "bad_request",
    `Cannot read the request: ${issue?.path.join(".")}: ${issue?.message}`,
  );
}
