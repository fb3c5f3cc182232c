import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { TIME_TRIGGERS } from "../../../kube/kinds.ts";
import { startKube } from "../../controller/platform.ts";
import { startRedisServer } from "../../redis-server.ts";
import { mib } from "../process-usage.ts";
import { percentile, printTable } from "../report.ts";
import { TimerFigures } from "./timer-figures.ts";

const COUNT = 10_000;
const MEASURED_S = 60;
const CREATED_AT_ONCE = 32;
/** What is registered fires from its next time on. */
const SETTLED_S = 15;

/** How late the fires of many timers become calls; API server, Redis and trigger service are processes of their own but for the first. */
export async function benchTimers(share: number): Promise<void> {
  const count = Math.round(COUNT * share);
  const [kube, redis] = [await startKube(), await startRedisServer("always")];
  try {
    let next = 0;
    await Promise.all(
      Array.from({ length: CREATED_AT_ONCE }, async () => {
        for (let at = next++; at < count; at = next++)
          await kube.client.create(TIME_TRIGGERS, {
            apiVersion: "fission.io/v1",
            kind: "TimeTrigger",
            metadata: { namespace: "default", name: `timer-${at}` },
            // The same number each second.
            spec: { cron: `${at % 60} * * * * *`, functionref: { type: "name", name: "hello" } },
          });
      }),
    );
    const child = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "timer-process.ts"),
        kube.localkube.kubeconfigPath,
        redis.url,
        String(SETTLED_S),
        String(MEASURED_S * Math.max(share, 0.25)),
      ],
      { stdio: ["ignore", "inherit", "inherit", "ipc"] },
    );
    const [message] = await once(child, "message");
    await once(child, "exit");
    const { lateMs, rssKib, seconds } = TimerFigures.parse(message);
    printTable([
      [`${count} timers, each once a minute: ${Math.round(count / 60)} at each full second`, "measured"],
      [`fires in ${seconds} s`, String(lateMs.length)],
      ["from the time of a fire to its durable call: p50, p99, latest ms", late(lateMs)],
      ["earliest ms (never below 0)", Math.min(...lateMs).toFixed(0)],
      ["memory of the process MiB RSS", mib(rssKib)],
    ]);
  } finally {
    await Promise.all([kube.stop(), redis.remove()]);
  }
}

const late = (values: readonly number[]): string =>
  `${percentile(values, 0.5)}, ${percentile(values, 0.99)}, ${Math.max(...values)}`;
