import { afterAll, beforeAll } from "vitest";
import { admissionCases } from "./security/admission-cases.ts";
import { definitionCases } from "./security/definition-cases.ts";
import { networkCases } from "./security/network-cases.ts";
import { outsideCases } from "./security/outside-cases.ts";
import { podCases } from "./security/pod-cases.ts";
import { rightsCases } from "./security/rights-cases.ts";
import { startTenant, type Tenant } from "./security/tenant.ts";
import { watchCases } from "./security/watch-cases.ts";

/**
 * What keeps tenants apart, on a real cluster: a test for each line of what the platform must have. What each component may ask of the
 * API server is in rbac.test.ts, the whole table of bad objects in definitions.test.ts, the walls seen by pods without a function in
 * network-policy.test.ts, signed calls in internal-calls.test.ts.
 */
let running: Tenant | undefined;
const tenant = (): Tenant => {
  if (!running) throw new Error("The tenant's functions did not start");
  return running;
};
beforeAll(async () => {
  running = await startTenant();
}, 400_000);
afterAll(() => running?.stop(), 180_000);

rightsCases(tenant);
admissionCases(tenant);
podCases(tenant);
networkCases(tenant);
outsideCases(tenant);
definitionCases(tenant);
watchCases(tenant);
