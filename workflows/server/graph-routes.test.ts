import fastify from "fastify";
import { expect, it } from "vitest";
import { runFacts } from "../../test/workflows/run-facts.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { newRun } from "../core/new-run.ts";
import { DefinitionError } from "../definition/definition.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import { graphRoutes } from "./graph-routes.ts";
import { runsOf } from "./runs.ts";

it("says why a run cannot be drawn whose definition cannot be read", async () => {
  const journal = memoryJournal({ now: () => 0 });
  await journal.create(newRun(runFacts("r")).record, []);
  const gone = () => Promise.reject(new DefinitionError("definition_unavailable", "the storage is away"));
  const app = fastify();
  const onError = fastifyErrorHandler({ debug: true, onUnexpected: () => {} });
  app.setErrorHandler((error, request, reply) => onError(error, request, reply));
  const runs = runsOf({
    journal,
    definitions: { get: gone },
    deliver: (key, message) => journal.deliver(key, message),
    wake: () => {},
  });
  graphRoutes(app, { journal, runs, definitions: { get: gone }, current: gone });
  const reply = await app.inject({ url: "/v1/runs/shop/r/graph?format=svg" });
  expect([reply.statusCode, reply.json()]).toMatchObject([
    503,
    { reason: "workflow_not_ready", message: 'Cannot draw run "shop/r": the storage is away' },
  ]);
});
