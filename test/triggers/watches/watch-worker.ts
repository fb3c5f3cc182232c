import { parseArgs } from "node:util";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import { startWatches } from "../../../engine/triggers/watches/start-watches.ts";
import { createKubeClient } from "../../../kube/client.ts";
import { watchFunctionWorld } from "../../../kube/function-world.ts";
import { processLog } from "../../../net/log.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import { redisConnection } from "../../../net/redis.ts";
import { recordedCalls } from "../timers/recorded-calls.ts";

/** A replica of the watches as a process, which dies by SIGKILL in the middle of one of its first changes: before or after it was accepted. */
const { values } = parseArgs({
  options: {
    kubeconfig: { type: "string", default: "" },
    redis: { type: "string", default: "" },
    name: { type: "string", default: "" },
    /** Number of the change; 0 = none. */
    "die-before": { type: "string", default: "0" },
    "die-after": { type: "string", default: "0" },
  },
});
const log = processLog("watches", { level: "error" });
const client = await createKubeClient({ kubeconfig: values.kubeconfig });
const functions = watchFunctionWorld(client, () => undefined);
functions.start();
const queue = recordedCalls(values.redis, values.name);
let changes = 0;
startWatches({
  client,
  log,
  functions,
  redis: redisConnection({ url: values.redis, log, name: "watches" }),
  accept: async (acceptance) => {
    const change = ++changes;
    if (change === Number(values["die-before"])) process.kill(process.pid, "SIGKILL");
    const accepted = await queue.accept(acceptance);
    if (change === Number(values["die-after"])) process.kill(process.pid, "SIGKILL");
    return accepted;
  },
  metrics: triggerMetrics(metricsRegistry()),
  name: `${values.name}-${process.pid}`,
  limits: { roundMs: 100, leaseMs: 1_000 },
});
