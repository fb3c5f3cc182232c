import type { Store } from "../store/store.ts";
import type { AddressPool } from "./addresses.ts";
import type { ConfigSources } from "./environment.ts";
import type { EventRecorder } from "./event-recorder.ts";
import type { ImageTable } from "./images.ts";
import type { PodFolders } from "./run-spec.ts";
import type { BackoffSettings } from "./restart-backoff.ts";
import type { Runtime } from "./runtime.ts";
import type { Pod } from "./pod.ts";

/** What the work on one pod needs of the kubelet. */
export interface KubeletContext {
  store: Pick<Store, "get" | "patch" | "delete">;
  /** The present connection; rejects while there is none. */
  runtime(): Promise<Runtime>;
  images: ImageTable;
  sources: ConfigSources;
  events: EventRecorder;
  /** Undefined where pods share 127.0.0.1 and differ by port. */
  addresses: AddressPool | undefined;
  nodeName: string;
  hostIP: string;
  backoff: BackoffSettings;
  maxLogBytes: number;
  folders(pod: Pod): PodFolders;
  log(message: string): void;
}
