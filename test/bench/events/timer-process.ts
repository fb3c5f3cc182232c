import { setTimeout as sleep } from "node:timers/promises";
import { startTimers } from "../../../engine/triggers/timers/start-timers.ts";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import { createKubeClient } from "../../../kube/client.ts";
import { processLog } from "../../../net/log.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import { functionWorld, startReplica } from "../../triggers/invocations/replica.ts";
import { memory } from "../process-usage.ts";
import type { TimerFigures } from "./timer-figures.ts";

/** A trigger service's timers with the real queue behind them, whose deliveries are answered at once. */
const [kubeconfig = "", redisUrl = "", settledS = "0", measuredS = "0"] = process.argv.slice(2);
const log = processLog("timers", { level: "error" });
const replica = await startReplica(redisUrl, functionWorld("default/hello"), async () => ({
  kind: "done",
  status: 200,
  headers: {},
  body: Buffer.alloc(0),
}));
replica.start();
let lateMs: number[] = [];
const timers = startTimers({
  client: await createKubeClient({ kubeconfig }),
  log,
  redis: replica.redis,
  name: "bench",
  metrics: triggerMetrics(metricsRegistry()),
  accept: async (acceptance) => {
    const accepted = await replica.accept(acceptance);
    lateMs.push(Date.now() - Date.parse(acceptance.event.headers["x-fission-timer-scheduled-time"] ?? ""));
    return accepted;
  },
  calls: { isUnderWay: async () => false, cancel: async () => undefined },
  warm: () => undefined,
});
await sleep(Number(settledS) * 1_000);
lateMs = [];
await sleep(Number(measuredS) * 1_000);
const figures: TimerFigures = { lateMs, rssKib: memory(process.pid).rssKib, seconds: Number(measuredS) };
process.send?.(figures, () => {
  void timers.stop(0).finally(() => process.exit(0));
});
