import { OpsNamespace } from "../../api/wire/ops.ts";
import { CliError } from "../command.ts";
import type { OpsClient } from "../ops-client.ts";

/** How long a label that was just set may need to reach the platform. */
const SETTLE_MS = 3_000;
const POLL_MS = 200;

/**
 * Whether the platform minds the namespace; otherwise objects could be created there, and nothing would ever happen to them.
 * @throws {CliError} with what to do
 */
export async function checkNamespace(ops: Pick<OpsClient, "send">, namespace: string): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const reply = await ops.send("/v1/namespace", { query: { namespace } });
    const text = await reply.body.text();
    // Who may not ask, or asks an older platform, is not kept from deploying.
    if (reply.status !== 200) return;
    const { served, labels } = OpsNamespace.parse(JSON.parse(text));
    if (served) return;
    if (performance.now() > deadline)
      throw new CliError(
        `Cannot deploy to namespace "${namespace}": the platform runs functions only in namespaces with the label ${labels.join(" or ")}; set it with \`kubectl label namespace ${namespace} ${labels[0] ?? ""}\`, or choose another with --namespace`,
      );
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}
