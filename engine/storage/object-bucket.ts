import type { Readable } from "node:stream";
import type { ByteRange } from "./archive-store.ts";

export interface ObjectFacts {
  readonly key: string;
  readonly sizeBytes: number;
}

export interface NewObject {
  readonly key: string;
  /** Of the content, hex: the bucket refuses what arrives otherwise. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** A whole, synced file with the content; a bucket of the same disk may take it away. */
  readonly file: string;
}

/**
 * What stores of archives and payloads need of an S3-compatible bucket, or of a folder used like one. Keys are below the bucket's prefix. Errors are `PlatformError`s:
 * archive_unavailable (it cannot be reached, or refuses), storage_full.
 */
export interface ObjectBucket {
  readonly name: string;
  /** Stores an object whole, or not at all. */
  put(object: NewObject): Promise<void>;
  /** The content, or a range of it; undefined when there is no such object. */
  read(key: string, range?: ByteRange): Promise<Readable | undefined>;
  list(prefix: string): AsyncIterable<ObjectFacts>;
  /** Deletes objects; those that are not there are no error. */
  delete(keys: readonly string[]): Promise<void>;
  /** Both are there from then on. Returns false when there is no such object. */
  copy(from: string, to: string): Promise<boolean>;
  move(from: string, to: string): Promise<void>;
  /** Throws when the bucket cannot be used. */
  probe(): Promise<void>;
  close(): void;
}
