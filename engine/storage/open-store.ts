import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../net/log.ts";
import { SettingsError } from "../../net/settings.ts";
import type { ArchiveStore } from "./archive-store.ts";
import { openLocalArchiveStore } from "./local-archive-store.ts";
import type { ObjectBucket } from "./object-bucket.ts";
import { openLocalPayloadStore, openPayloadStore, type PayloadStore } from "./payload-store.ts";
import { openS3ArchiveStore } from "./s3-archive-store.ts";
import { openS3Bucket } from "./s3-bucket.ts";
import type { StorageSettings } from "./settings.ts";

export interface OpenedStore {
  readonly store: ArchiveStore;
  readonly payloads: PayloadStore;
  /** Why contents cannot be served now. */
  notReady: () => string | undefined;
  close(): void;
}

const PROBE_MS = 10_000;
const FIRST_PROBES_MS = 1_000;

/** The stores that the settings ask for. Throws `SettingsError` when they do not go together. */
export async function openStore(settings: StorageSettings, log: Log): Promise<OpenedStore> {
  const { maxArchiveBytes, payloadBytes } = settings;
  if (settings.backend === "local") {
    const store = await openLocalArchiveStore({ root: settings.folder, maxArchiveBytes });
    const payloads = await openLocalPayloadStore(settings.folder, payloadBytes);
    return { store, payloads, notReady: () => undefined, close: () => undefined };
  }
  const bucket = await openS3Bucket(s3Options(settings));
  const store = await openS3ArchiveStore({ bucket, spoolFolder: settings.spoolFolder, maxArchiveBytes });
  const payloads = await openPayloadStore({
    bucket,
    spoolFolder: settings.spoolFolder,
    maxBytes: payloadBytes,
  });
  const watch = watchBucket(bucket, log);
  return {
    store,
    payloads,
    notReady: watch.notReady,
    close: () => {
      watch.stop();
      bucket.close();
    },
  };
}

function s3Options(settings: StorageSettings) {
  const { s3Bucket, s3AccessKeyFile, s3SecretKeyFile } = settings;
  if (s3Bucket === "") throw new SettingsError(["Cannot start: --backend s3 needs --s3-bucket"]);
  if ((s3AccessKeyFile === "") !== (s3SecretKeyFile === ""))
    throw new SettingsError([
      "Cannot start: --s3-access-key-file and --s3-secret-key-file go together; give both or none",
    ]);
  return {
    bucket: s3Bucket,
    region: settings.s3Region,
    endpoint: settings.s3Endpoint,
    pathStyle: settings.s3PathStyle,
    prefix: settings.s3Prefix,
    credentialFiles: s3AccessKeyFile === "" ? undefined : { id: s3AccessKeyFile, secret: s3SecretKeyFile },
  };
}

/** Asks again and again whether the bucket can be used. */
function watchBucket(
  bucket: ObjectBucket,
  log: Log,
): { notReady: () => string | undefined; stop: () => void } {
  const stopping = new AbortController();
  let why: string | undefined = `bucket "${bucket.name}" has not answered yet`;
  const look = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await bucket.probe();
        if (why !== undefined) log.info("The bucket can be used", { bucket: bucket.name });
        why = undefined;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (why !== message) log.warn("The bucket cannot be used", { error });
        why = message;
      }
      const pauseMs = why === undefined ? PROBE_MS : FIRST_PROBES_MS;
      await sleep(pauseMs, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);
    }
  };
  void look();
  return { notReady: () => why, stop: () => stopping.abort() };
}
