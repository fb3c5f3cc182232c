import { TRIGGERS_AUDIENCE } from "../../api/wire/invocations.ts";
import type { KeyRing } from "../../net/keys.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";

/** @param origin of the trigger service */
export const triggersClient = (keys: KeyRing, origin: string): SignedClient =>
  signedClient({ keys, origin, audience: TRIGGERS_AUDIENCE, unavailable: "triggers_unavailable" });
