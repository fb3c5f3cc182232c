import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import { PlatformError } from "../../api/errors.ts";
import type { NewObject, ObjectBucket } from "./object-bucket.ts";

export interface S3BucketOptions {
  readonly bucket: string;
  readonly region: string;
  /** Origin of an S3-compatible server; undefined = AWS's own. */
  readonly endpoint: string | undefined;
  /** The bucket stands in the path instead of the host's name. */
  readonly pathStyle: boolean;
  /** Before every key; empty or with a slash at its end. */
  readonly prefix: string;
  /** Files with the access key's id and secret, read again each minute; undefined = AWS's usual chain (role of the pod, environment). */
  readonly credentialFiles: { readonly id: string; readonly secret: string } | undefined;
}

const CREDENTIALS_MS = 60_000;
const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 120_000;
const PUT_ATTEMPTS = 3;

/** A bucket of AWS S3 or of a server that speaks its protocol. The client is loaded by this call only: it is large. */
export async function openS3Bucket(options: S3BucketOptions): Promise<ObjectBucket> {
  const sdk = await import("@aws-sdk/client-s3");
  const { credentialFiles } = options;
  const client = new sdk.S3Client({
    region: options.region,
    forcePathStyle: options.pathStyle,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(credentialFiles === undefined ? {} : { credentials: () => readCredentials(credentialFiles) }),
    // Compatible servers need not know AWS's newer checksums; contents are signed and verified by their digest anyway.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
  });
  const Bucket = options.bucket;
  const keyOf = (key: string): string => options.prefix + key;
  const remove = async (key: string): Promise<void> => {
    await client.send(new sdk.DeleteObjectCommand({ Bucket, Key: keyOf(key) }));
  };
  const copy = async (from: string, to: string): Promise<boolean> => {
    try {
      const CopySource = `${Bucket}/${encodeURI(keyOf(from))}`;
      await client.send(new sdk.CopyObjectCommand({ Bucket, Key: keyOf(to), CopySource }));
      return true;
    } catch (error) {
      if (isMissingObject(error)) return false;
      throw bucketError(error, Bucket);
    }
  };
  return {
    name: options.bucket,
    put: (object) => attempted(PUT_ATTEMPTS, () => putObject(client, sdk, Bucket, keyOf(object.key), object)),
    read: async (key, range) => {
      try {
        const reply = await client.send(
          new sdk.GetObjectCommand({
            Bucket,
            Key: keyOf(key),
            ...(range ? { Range: `bytes=${range.start}-${range.end}` } : {}),
          }),
        );
        if (reply.Body instanceof Readable) return reply.Body;
        throw new PlatformError("archive_unavailable", `Bucket "${Bucket}" answered without a body`);
      } catch (error) {
        if (isMissingObject(error)) return undefined;
        throw bucketError(error, Bucket);
      }
    },
    list: async function* (prefix) {
      let token: string | undefined;
      do {
        const page = await client
          .send(
            new sdk.ListObjectsV2Command({
              Bucket,
              Prefix: keyOf(prefix),
              ...(token === undefined ? {} : { ContinuationToken: token }),
            }),
          )
          .catch((error: unknown) => {
            throw bucketError(error, Bucket);
          });
        for (const { Key = "", Size = 0 } of page.Contents ?? [])
          yield { key: Key.slice(options.prefix.length), sizeBytes: Size };
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    },
    delete: async (keys) => {
      // One by one: the request for many needs a checksum that compatible servers disagree about.
      for (const key of keys) {
        await remove(key).catch((error: unknown) => {
          if (!isMissingObject(error)) throw bucketError(error, Bucket);
        });
      }
    },
    copy,
    move: async (from, to) => {
      try {
        if (await copy(from, to)) await remove(from);
      } catch (error) {
        if (!isMissingObject(error)) throw bucketError(error, Bucket);
      }
    },
    probe: async () => {
      await client.send(new sdk.HeadBucketCommand({ Bucket })).catch((error: unknown) => {
        throw bucketError(error, Bucket);
      });
    },
    close: () => client.destroy(),
  };
}

async function readCredentials(files: { id: string; secret: string }) {
  const [id, secret] = await Promise.all([readFile(files.id, "utf8"), readFile(files.secret, "utf8")]);
  return {
    accessKeyId: id.trim(),
    secretAccessKey: secret.trim(),
    expiration: new Date(Date.now() + CREDENTIALS_MS),
  };
}

async function putObject(
  client: S3Client,
  sdk: typeof import("@aws-sdk/client-s3"),
  Bucket: string,
  Key: string,
  object: NewObject,
): Promise<void> {
  const Body = createReadStream(object.file);
  const command = new sdk.PutObjectCommand({ Bucket, Key, Body, ContentLength: object.sizeBytes });
  // The digest is known: it is signed, so the server refuses another content, and the file is not read twice.
  command.middlewareStack.add(
    (next) => (args) => {
      const { request } = args;
      if (isHttpRequest(request)) request.headers["x-amz-content-sha256"] = object.sha256;
      return next(args);
    },
    { step: "build", name: "signKnownDigest" },
  );
  try {
    await client.send(command);
  } catch (error) {
    throw bucketError(error, Bucket);
  } finally {
    Body.destroy();
  }
}

const isHttpRequest = (request: unknown): request is { headers: Record<string, string> } =>
  typeof request === "object" && request !== null && "headers" in request;

/** A stream can be sent once, so the client's own retries do not work for it. */
async function attempted(attempts: number, action: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await action();
    } catch (error) {
      if (attempt >= attempts || !isTransient(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt * (0.5 + Math.random())));
    }
  }
}

function isTransient(error: unknown): boolean {
  const status = statusOf(error instanceof Error ? error.cause : undefined);
  // 409: another request was changing the same place, e.g. a folder of a server over a file system.
  return status === undefined || status >= 500 || status === 429 || status === 409;
}

/** HTTP status of an answer that the client made an error of; undefined when there was none. */
function statusOf(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("$metadata" in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== "object" || metadata === null || !("httpStatusCode" in metadata)) return undefined;
  return typeof metadata.httpStatusCode === "number" ? metadata.httpStatusCode : undefined;
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : "");

const isMissingObject = (error: unknown): boolean =>
  statusOf(error) === 404 && nameOf(error) !== "NoSuchBucket";

function bucketError(error: unknown, bucket: string): PlatformError {
  if (error instanceof PlatformError) return error;
  const full = statusOf(error) === 507 || /Quota|Insufficient|StorageFull/.test(nameOf(error));
  if (full) return new PlatformError("storage_full", undefined, { cause: error });
  const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new PlatformError("archive_unavailable", `Cannot use bucket "${bucket}": ${why}`, { cause: error });
}
