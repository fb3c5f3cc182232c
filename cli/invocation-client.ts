import type { z } from "zod";
import { ErrorBody } from "../api/wire/error.ts";
import {
  DeadLetterCount,
  type DeadLetterSelection,
  InvocationList,
  type InvocationQuery,
  InvocationView,
} from "../api/wire/invocations.ts";
import { CliError } from "./command.ts";
import type { CliContext } from "./context.ts";
import { errorText, type OpsRequest } from "./ops-client.ts";

async function ask<Schema extends z.ZodType>(
  context: CliContext,
  schema: Schema,
  path: string,
  options: OpsRequest = {},
): Promise<z.infer<Schema>> {
  const reply = await (await context.ops()).call(path, { signal: context.signal, ...options });
  return schema.parse(await reply.body.json());
}

const addressOf = async (context: CliContext, id: string): Promise<string> =>
  `/v1/invocations/${encodeURIComponent(await context.namespace())}/${encodeURIComponent(id)}`;

type Query = Omit<InvocationQuery, "continue">;
const PAGE = 1_000;

/** Newest first, as many as `query.limit` says. */
export const listInvocations = (context: CliContext, query: Query): Promise<InvocationView[]> =>
  listed(context, "/v1/invocations", query);

/** The same of dead letters. */
export const listDeadLetters = (
  context: CliContext,
  query: Omit<Query, "status">,
): Promise<InvocationView[]> => listed(context, "/v1/dlq", query);

async function listed(context: CliContext, path: string, query: Query): Promise<InvocationView[]> {
  const items: InvocationView[] = [];
  let page: { continue?: string | undefined } = {};
  do {
    const limit = Math.min(PAGE, query.limit - items.length);
    const got = await ask(context, InvocationList, path, { query: { ...query, limit, ...page } });
    items.push(...got.items);
    page = got.continue === undefined ? {} : { continue: got.continue };
  } while (page.continue !== undefined && items.length < query.limit);
  return items;
}

/** @param payload with the headers and the body that it was accepted with */
export const readInvocation = (context: CliContext, id: string, payload: boolean): Promise<InvocationView> =>
  one(context, id, "", { query: { payload: payload || undefined } });

export const cancelInvocation = (context: CliContext, id: string): Promise<InvocationView> =>
  one(context, id, "/cancel", { method: "POST" });

/** @throws {CliError} naming the id when there is none of it */
async function one(
  context: CliContext,
  id: string,
  path: string,
  options: OpsRequest,
): Promise<InvocationView> {
  const ops = await context.ops();
  const reply = await ops.send(`${await addressOf(context, id)}${path}`, {
    signal: context.signal,
    ...options,
  });
  if (reply.status < 300) return InvocationView.parse(await reply.body.json());
  const text = await reply.body.text();
  if (reasonOf(text) === "invocation_not_found")
    throw new CliError(
      `Invocation "${id}" not found in namespace "${await context.namespace()}": it never was, or its time is over (24 h after its end, 14 days for dead letters); \`isotope invocation list\` shows those that are kept`,
    );
  throw new CliError(
    errorText(text) ?? `The trigger service answered ${reply.status}: ${text.slice(0, 500)}`,
  );
}

function reasonOf(body: string): string | undefined {
  try {
    return ErrorBody.safeParse(JSON.parse(body)).data?.reason;
  } catch {
    return undefined;
  }
}

/** @returns how many were redriven or purged: all that were there when it began */
export async function changeDeadLetters(
  context: CliContext,
  how: "redrive" | "purge",
  selection: DeadLetterSelection,
): Promise<number> {
  let count = 0;
  let page: { continue?: string | undefined } = {};
  do {
    const some = await ask(context, DeadLetterCount, `/v1/dlq/${how}`, {
      method: "POST",
      body: JSON.stringify({ ...selection, ...page }),
      headers: { "content-type": "application/json" },
    });
    count += some.count;
    page = some.continue === undefined ? {} : { continue: some.continue };
  } while (page.continue !== undefined);
  return count;
}
