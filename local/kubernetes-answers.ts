import { existsSync, readFileSync } from "node:fs";
import type { Home } from "./home.ts";
import type { Ports } from "./ports.ts";
import { portTaken } from "./probe-port.ts";

/** Whether localkube listens, and its kubeconfig is there and names the port that it has now. */
export const kubernetesAnswers = async (home: Home, ports: Ports): Promise<boolean> =>
  existsSync(home.kubeconfig) &&
  readFileSync(home.kubeconfig, "utf8").includes(`:${ports.kubernetes}`) &&
  (await portTaken(ports.kubernetes));
