import type { FastifyInstance } from "fastify";
import { CheckDefinition, type DefinitionCheck } from "../../api/wire/workflows.ts";
import { parseRequest } from "./parse-request.ts";

export interface DefinitionChecker {
  /** Checks a definition, and stores it when it can be run. */
  check(request: CheckDefinition): Promise<DefinitionCheck>;
}

const MAX_BODY_BYTES = 4 * 2 ** 20;

/** The check of definitions, for the Workflow reconciler and for `isotope workflow validate`. */
export function definitionsRoute(app: FastifyInstance, definitions: DefinitionChecker): void {
  app.post("/v1/definitions/check", { bodyLimit: MAX_BODY_BYTES }, (request) =>
    definitions.check(parseRequest("check a definition", CheckDefinition, request.body)),
  );
}
