import { DefinitionCheck, WORKFLOWS_AUDIENCE } from "../../api/wire/workflows.ts";
import type { KeyRing } from "../../net/keys.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import type { DefinitionChecker } from "./reconcile.ts";

/** @param origin of the workflow service */
export const workflowsClient = (keys: KeyRing, origin: string): SignedClient =>
  signedClient({ keys, origin, audience: WORKFLOWS_AUDIENCE, unavailable: "workflows_unavailable" });

const CHECK_TIMEOUT_MS = 60_000;

/** Has definitions checked by the workflow service. */
export const definitionChecker =
  (workflows: SignedClient): DefinitionChecker =>
  (request) =>
    workflows.postJson("/v1/definitions/check", request, DefinitionCheck, { timeoutMs: CHECK_TIMEOUT_MS });
