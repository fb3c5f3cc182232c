import { freePortBase } from "../../e2e/free-ports.ts";
import { type BrokerProcess, brokerFolder, brokerProcess } from "./broker-process.ts";
import { findProgram, missingPrograms } from "./programs.ts";

/** Why there is no NATS on this machine, or undefined. */
export const natsObstacle = (): string | undefined => missingPrograms({ "nats-server": "nats-server" });

export async function startNats(): Promise<BrokerProcess & { readonly address: string }> {
  const port = await freePortBase();
  const folder = brokerFolder("nats");
  const broker = brokerProcess({
    name: "nats-server",
    folder,
    port,
    command: findProgram("nats-server") ?? "nats-server",
    args: ["-js", "-sd", folder, "-a", "127.0.0.1", "-p", String(port)],
  });
  await broker.start();
  return { ...broker, address: `127.0.0.1:${port}` };
}
