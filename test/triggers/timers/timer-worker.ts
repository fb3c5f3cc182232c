import { parseArgs } from "node:util";
import { startTimers } from "../../../engine/triggers/timers/start-timers.ts";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import { createKubeClient } from "../../../kube/client.ts";
import { processLog } from "../../../net/log.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import { redisConnection } from "../../../net/redis.ts";
import { recordedCalls } from "./recorded-calls.ts";

/** A replica of the timers as a process, which can die by SIGKILL in the middle of one of its first fires: before or after its call was accepted. */
const { values } = parseArgs({
  options: {
    kubeconfig: { type: "string", default: "" },
    redis: { type: "string", default: "" },
    name: { type: "string", default: "" },
    /** Number of the fire; 0 = none. */
    "die-before": { type: "string", default: "0" },
    "die-after": { type: "string", default: "0" },
    /** By how many milliseconds the clock of its machine is wrong. */
    "clock-off": { type: "string", default: "0" },
  },
});
const offMs = Number(values["clock-off"]);
const rightTime = Date.now;
Date.now = () => rightTime() + offMs;
const log = processLog("timers", { level: "error" });
const queue = recordedCalls(values.redis, values.name);
let fires = 0;
startTimers({
  client: await createKubeClient({ kubeconfig: values.kubeconfig }),
  log,
  redis: redisConnection({ url: values.redis, log, name: "timers" }),
  accept: async (acceptance) => {
    const fire = ++fires;
    if (fire === Number(values["die-before"])) process.kill(process.pid, "SIGKILL");
    const accepted = await queue.accept(acceptance);
    if (fire === Number(values["die-after"])) process.kill(process.pid, "SIGKILL");
    return accepted;
  },
  calls: queue.calls,
  name: `${values.name}-${process.pid}`,
  metrics: triggerMetrics(metricsRegistry()),
  warm: () => undefined,
  limits: { sweepMs: 200, leaseMs: 1_000, graceMs: 500, goneMs: 1_000 },
});
