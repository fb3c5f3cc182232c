import { resolve } from "node:path";
import { parseRange } from "./addresses.ts";
import { makeImageTable, openImageTable } from "./images.ts";
import { DEFAULT_POD_CIDR, startKubelet } from "./kubelet.ts";
import { identify } from "./shim/process-identity.ts";
import type { Part } from "../part.ts";

export interface KubeletOptions {
  nodeName: string;
  /** `pods/` and `logs/pods/` are made in it. */
  stateDir: string;
  /** JSON file of images and their commands; without one no image can be run. */
  imagesFile: string | undefined;
  /** Range of pod addresses in 127.0.0.0/8; `none` makes pods share 127.0.0.1. Default: 127.64.0.0/10 on Linux, else `none`. */
  podCidr: string | undefined;
  /** The process whose death ends all pods; they outlive this one then. Default: this process. */
  parentPid: number | undefined;
}

function podRange(given: string | undefined): string | undefined {
  const chosen = given ?? (process.platform === "linux" ? DEFAULT_POD_CIDR : "none");
  if (chosen === "none") return undefined;
  parseRange(chosen);
  return chosen;
}

/** The kubelet as a part of the server. Throws at once when an option is wrong. */
export function kubeletPart(options: KubeletOptions): Part {
  const podCidr = podRange(options.podCidr);
  const life = identify(options.parentPid ?? process.pid);
  return async (context) => {
    const log = (message: string): void => context.log(`kubelet: ${message}`);
    const images =
      options.imagesFile === undefined ? makeImageTable([]) : openImageTable(options.imagesFile, log);
    const kubelet = await startKubelet(
      context.store,
      {
        nodeName: options.nodeName,
        stateDir: resolve(options.stateDir),
        images,
        podCidr,
        life,
        podsOutliveStop: options.parentPid !== undefined,
      },
      log,
    );
    context.provideLogs(kubelet.logs);
    return { stop: () => kubelet.stop() };
  };
}
