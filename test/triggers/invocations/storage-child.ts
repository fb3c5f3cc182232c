// The storage's API over a folder, without what removes archives: `--folder`, `--port`, `--key-file`.
import { parseArgs } from "node:util";
import { openLocalArchiveStore } from "../../../engine/storage/local-archive-store.ts";
import { openLocalPayloadStore } from "../../../engine/storage/payload-store.ts";
import { createStorageServer } from "../../../engine/storage/storage-server.ts";
import { keyRingFromFile } from "../../../net/keys.ts";
import { processLog } from "../../../net/log.ts";
import { metricsRegistry } from "../../../net/metrics.ts";

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: "" },
    port: { type: "string", default: "" },
    "key-file": { type: "string", default: "" },
  },
});
const server = createStorageServer({
  store: await openLocalArchiveStore({ root: values.folder }),
  payloads: await openLocalPayloadStore(values.folder),
  maxArchiveBytes: 1e6,
  keys: keyRingFromFile(values["key-file"]),
  registry: metricsRegistry(),
  notReady: () => undefined,
  log: processLog("storage", { level: "error" }),
});
await server.listen({ host: "127.0.0.1", port: Number(values.port) });
