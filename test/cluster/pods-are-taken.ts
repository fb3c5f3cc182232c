import type { KubeClient } from "../../kube/client.ts";
import { resourceType } from "../../kube/resource.ts";
import { eventually } from "../eventually.ts";

const SERVICE_ACCOUNTS = resourceType("v1", "ServiceAccount", "serviceaccounts");
const LIMIT_MS = 120_000;

/** Waits until a new namespace takes pods: its account is made a moment after it, and the API server has patience for a second only. */
export async function podsAreTaken(client: KubeClient, namespace: string): Promise<void> {
  await eventually(
    () => client.find(SERVICE_ACCOUNTS, { namespace, name: "default" }),
    (found) => found !== undefined,
    LIMIT_MS,
  );
}
