import type { z } from "zod";
import type { OpsComponent } from "../api/wire/ops.ts";
import type { Ports } from "./ports.ts";
import { portTaken, statusOf } from "./probe-port.ts";

type Component = z.infer<typeof OpsComponent>;

/** How the platform's processes on this machine are, for `isotope status`. */
export async function componentHealth(
  ports: Ports,
  version: string,
  notReady: () => string | undefined,
): Promise<Component[]> {
  const [router, redis, workflows, triggers] = await Promise.all([
    statusOf(ports.router, "/readyz"),
    portTaken(ports.redis),
    statusOf(ports.workflows, "/readyz"),
    statusOf(ports.triggers, "/readyz"),
  ]);
  const waiting = notReady();
  /** Of a part that keeps its state in Redis, by its answer. */
  const onRedis = (name: string, answer: number): Component => {
    if (!redis) return { name, status: "unknown", version, message: "it needs Redis, which is not running" };
    const up = answer === 200;
    const message = up ? "" : `GET /readyz answered ${answer || "nothing"}`;
    return { name, status: up ? "up" : "down", version, message };
  };
  return [
    {
      name: "router",
      status: router === 200 ? "up" : "down",
      version,
      message: router === 200 ? "" : `GET /readyz answered ${router || "nothing"}`,
    },
    { name: "controller", status: waiting === undefined ? "up" : "down", version, message: waiting ?? "" },
    { name: "executor", status: "up", version, message: "" },
    { name: "storage", status: "up", version, message: "" },
    onRedis("workflows", workflows),
    onRedis("triggers", triggers),
    {
      name: "redis",
      status: redis ? "up" : "unknown",
      version: "",
      message: redis
        ? ""
        : "not running: events and workflows answer 503; install redis-server and start again",
    },
  ];
}
