import type { Store } from "../../localkube/store/store.ts";
import { startLocalkube } from "../../localkube/server.ts";

/** The store of a server in this process on a free port, without kubelet and controllers. */
export async function openStore(dir: string): Promise<{ store: Store; close: () => Promise<void> }> {
  const localkube = await startLocalkube({ dataDir: dir, port: 0, log: () => {} });
  return { store: localkube.store, close: () => localkube.stop() };
}
