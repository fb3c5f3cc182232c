import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import { GraphQuery } from "../../api/wire/workflows.ts";
import type { HistoryEntry, RunKey, RunRecord } from "../core/run-record.ts";
import { type Definition, DefinitionError } from "../definition/definition.ts";
import { type Marks, marksOf } from "../graph/graph-marks.ts";
import { mermaidOf } from "../graph/mermaid.ts";
import { svgOf } from "../graph/svg.ts";
import type { Journal } from "../journal/journal.ts";
import type { Definitions } from "../worker/ports.ts";
import { parseRequest } from "./parse-request.ts";
import { keyOf } from "./runs-routes.ts";
import type { Runs } from "./runs.ts";
import type { CurrentWorkflow } from "./start-run.ts";

export interface GraphRoutesDeps {
  readonly journal: Pick<Journal, "history">;
  readonly runs: Pick<Runs, "load">;
  readonly definitions: Definitions;
  /** @throws {PlatformError} workflow_not_found, workflow_not_ready */
  readonly current: (namespace: string, workflow: string) => Promise<CurrentWorkflow>;
}

const WorkflowAddress = z.object({ namespace: z.string().max(63), name: z.string().max(253) });
const PAGE = 1_000;
const TYPES = { mermaid: "text/plain; charset=utf-8", svg: "image/svg+xml; charset=utf-8" };

/** Pictures of workflows, and of runs in their colours. */
export function graphRoutes(app: FastifyInstance, deps: GraphRoutesDeps): void {
  const draw = (format: keyof typeof TYPES, { facts }: Definition, marks?: Marks): string =>
    format === "svg" ? svgOf(facts.graph, marks) : mermaidOf(facts.graph, marks);
  app.get("/v1/workflows/:namespace/:name/graph", async (request, reply) => {
    const { namespace, name } = parseRequest("find a workflow", WorkflowAddress, request.params);
    const { format } = parseRequest("draw a workflow", GraphQuery, request.query);
    const { definition } = await deps.current(namespace, name);
    return reply.type(TYPES[format]).send(draw(format, definition));
  });
  app.get("/v1/runs/:namespace/:id/graph", async (request, reply) => {
    const key = keyOf(request);
    const { format } = parseRequest("draw a run", GraphQuery, request.query);
    const record = await deps.runs.load(key);
    const definition = await definitionOf(deps, record);
    const marks = marksOf(record, await wholeHistory(deps.journal, key));
    return reply.type(TYPES[format]).send(draw(format, definition, marks));
  });
}

async function definitionOf({ definitions }: GraphRoutesDeps, { facts }: RunRecord): Promise<Definition> {
  try {
    return await definitions.get(facts);
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    throw new PlatformError(
      "workflow_not_ready",
      `Cannot draw run "${facts.key.namespace}/${facts.key.id}": ${error.message}`,
      { cause: error },
    );
  }
}

async function wholeHistory(journal: Pick<Journal, "history">, key: RunKey): Promise<HistoryEntry[]> {
  const entries: HistoryEntry[] = [];
  for (;;) {
    const last = entries.at(-1);
    const page = await journal.history(key, last === undefined ? 0 : last.seq + 1, PAGE);
    entries.push(...page);
    if (page.length < PAGE) return entries;
  }
}
