import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { PlatformError } from "../../api/errors.ts";
import {
  MAX_PAYLOAD_BYTES,
  MAX_PAYLOAD_KEPT_MS,
  type Payload,
  payloadOf,
  payloadRef,
} from "../../api/wire/payloads.ts";
import { openFolderBucket } from "./folder-bucket.ts";
import type { ObjectBucket } from "./object-bucket.ts";
import { objectSource } from "./object-source.ts";
import { type PayloadRoom, payloadRoom } from "./payload-room.ts";
import { verifiedContent } from "./verified-content.ts";
import { diskError, writeUpload } from "./write-upload.ts";

/*
 * Payloads: contents with names of their own, each of which is gone at a time that its name says. Invariants:
 * P1. A payload is whole or not there: it is written to the spool, synced, checked against its name, and then given to the bucket, which syncs too.
 * P2. What a sweep removes is what the names say: no other record of payloads exists that could be lost or be wrong.
 * P3. Together they have at most so many bytes, those of one namespace half of that: archives need the disk too, and so do other namespaces.
 *     Between two sweeps several processes on one bucket know of their own only.
 * P4. A damaged payload is never served whole; it is set aside until its time, and is not there from then on.
 */

export interface PayloadStore {
  /**
   * Stores `content` durably under its name, or nothing. The same name again is the same payload.
   * @throws {PlatformError} bad_request (it is not what its name says, or its time is not allowed), body_too_large, storage_full
   */
  put(payload: Payload, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void>;
  /** @throws {PlatformError} payload_not_found; while it is read archive_unavailable, before its end */
  open(payload: Payload): Promise<Readable>;
  /** The same content until then, under a name of its own. @throws {PlatformError} payload_not_found, storage_full, bad_request */
  keep(payload: Payload, expiresAtMs: number): Promise<Payload>;
  remove(payload: Payload): Promise<void>;
  /** Removes those whose time has come, and counts the others. @returns how many went */
  sweep(): Promise<number>;
  use(): { readonly count: number; readonly bytes: number };
}

export interface PayloadStoreOptions {
  readonly bucket: ObjectBucket;
  /** Folder of this machine where payloads wait until they are whole; for a bucket on a disk, on the same one. What a killed process left there goes. */
  readonly spoolFolder: string;
  /** Of all of them together. */
  readonly maxBytes: number;
  readonly now?: () => number;
  /** Opens files for writing; tests put a full disk here. */
  readonly openFile?: typeof open;
}

interface Context {
  readonly bucket: ObjectBucket;
  readonly room: PayloadRoom;
  readonly spoolFolder: string;
  readonly openFile: typeof open;
  readonly now: () => number;
}

export const DEFAULT_PAYLOAD_BYTES = 4 * 2 ** 30;
const FOLDER = "payloads/";
const DAMAGED_FOLDER = `damaged/${FOLDER}`;
const SPOOL_PREFIX = "payload-";
/** Many are read at once, by readers that take an answer which is cut off for none. */
const VERIFY_FIRST_BYTES = 2 ** 20;
/** That are being received: the spool may lie on a small disk. */
const SPOOLED_BYTES = 512 * 2 ** 20;
const HOUR_MS = 3_600_000;
const KEY = /(?:^|\/)payloads\/\d+\/([^/_]+)_(\d{13})_([^/_]+)$/;

/** Payloads in a bucket, or in a folder that is used like one. */
export async function openPayloadStore(options: PayloadStoreOptions): Promise<PayloadStore> {
  const { bucket, spoolFolder, maxBytes } = options;
  await mkdir(spoolFolder, { recursive: true, mode: 0o700 });
  for (const left of await readdir(spoolFolder))
    if (left.startsWith(SPOOL_PREFIX)) await rm(join(spoolFolder, left), { force: true });
  const now = options.now ?? Date.now;
  const room = payloadRoom({ maxBytes, list: () => listed(bucket), now });
  const context: Context = { bucket, room, spoolFolder, openFile: options.openFile ?? open, now };
  return {
    put: (payload, content) => put(context, payload, content),
    open: (payload) => openPayload(context, payload),
    keep: (payload, expiresAtMs) => keep(context, payload, expiresAtMs),
    remove: async (payload) => {
      await bucket.delete([keyOf(payload)]);
      room.give(payload);
    },
    sweep: () => sweep(context),
    use: room.use,
  };
}

/** Payloads in a folder that archives are in too. One process owns it. */
export async function openLocalPayloadStore(
  root: string,
  maxBytes = DEFAULT_PAYLOAD_BYTES,
): Promise<PayloadStore> {
  return openPayloadStore({
    bucket: await openFolderBucket(root),
    spoolFolder: join(root, "spool"),
    maxBytes,
  });
}

/** Between two looks for payloads whose time has come. */
export const SWEEP_MS = 300_000;

/** By the hour in which they go, so that a sweep finds those that have gone together. */
function keyOf(payload: Payload): string {
  const hour = Math.floor(payload.expiresAtMs / HOUR_MS);
  return `${FOLDER}${hour}/${payloadRef(payload).replaceAll("/", "_")}`;
}

function payloadOfKey(key: string): Payload | undefined {
  const [, namespace, expiresAt, rest] = KEY.exec(key) ?? [];
  return payloadOf(`${namespace}/${expiresAt}/${rest}`);
}

async function put(
  { bucket, room, spoolFolder, openFile, now }: Context,
  payload: Payload,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  checkTime(payload.expiresAtMs, now());
  if (payload.sizeBytes > MAX_PAYLOAD_BYTES)
    throw new PlatformError(
      "body_too_large",
      `Cannot store the payload: at most ${MAX_PAYLOAD_BYTES} bytes are allowed, got ${payload.sizeBytes}`,
    );
  await room.take(payload, SPOOLED_BYTES);
  const file = join(spoolFolder, `${SPOOL_PREFIX}${randomUUID()}`);
  const { sha256, sizeBytes } = payload;
  try {
    const target = { maxBytes: sizeBytes, openFile, what: "payload" } as const;
    await writeUpload(target, file, content, { sha256, sizeBytes });
    await bucket.put({ key: keyOf(payload), sha256, sizeBytes, file });
  } catch (error) {
    room.give(payload);
    throw diskError(error);
  } finally {
    room.settled(payload);
    await rm(file, { force: true });
  }
}

async function openPayload({ bucket, now }: Context, payload: Payload): Promise<Readable> {
  const key = keyOf(payload);
  const first = payload.expiresAtMs <= now() ? undefined : await bucket.read(key);
  if (!first) throw notFound();
  const corrupt = async (): Promise<PlatformError> => {
    await bucket.move(key, DAMAGED_FOLDER + key.slice(FOLDER.length));
    return new PlatformError(
      "archive_unavailable",
      "The payload is damaged: it is no longer what its name says",
    );
  };
  const source = objectSource(bucket, key, payload.sizeBytes, first);
  return Readable.from(verifiedContent(source, payload.sha256, undefined, corrupt, VERIFY_FIRST_BYTES), {
    objectMode: false,
  });
}

async function keep({ bucket, room, now }: Context, payload: Payload, expiresAtMs: number): Promise<Payload> {
  checkTime(expiresAtMs, now());
  const kept: Payload = { ...payload, expiresAtMs, id: randomUUID().replaceAll("-", "") };
  if (payload.expiresAtMs <= now()) throw notFound();
  await room.take(kept);
  try {
    if (!(await bucket.copy(keyOf(payload), keyOf(kept)))) throw notFound();
    return kept;
  } catch (error) {
    room.give(kept);
    throw diskError(error);
  } finally {
    room.settled(kept);
  }
}

async function sweep({ bucket, room, now }: Context): Promise<number> {
  let removed = 0;
  const time = now();
  await room.count(async (payload, key) => {
    if (payload.expiresAtMs > time) return true;
    await bucket.delete([key]);
    removed += 1;
    return false;
  });
  return removed;
}

async function* listed(
  bucket: ObjectBucket,
): AsyncGenerator<{ readonly key: string; readonly payload: Payload }> {
  for (const folder of [FOLDER, DAMAGED_FOLDER])
    for await (const { key } of bucket.list(folder)) {
      const payload = payloadOfKey(key);
      if (payload) yield { key, payload };
    }
}

function checkTime(expiresAtMs: number, now: number): void {
  if (expiresAtMs > now && expiresAtMs <= now + MAX_PAYLOAD_KEPT_MS) return;
  throw new PlatformError(
    "bad_request",
    `Cannot store the payload: its time must be in the next ${MAX_PAYLOAD_KEPT_MS} ms, got ${new Date(expiresAtMs).toISOString()}`,
  );
}

const notFound = (): PlatformError => new PlatformError("payload_not_found");
