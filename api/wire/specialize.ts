import { z } from "zod";

/**
 * Direct specialisation: `POST /v2/specialize` on a generic pod of the Deno environment.
 *
 * Headers: `Authorization: Bearer <pod token>`, `Content-Type: application/vnd.isotope.specialize`.
 * Body: uint32 big-endian length of the JSON, the JSON (`SpecializeRequest`), then the archive's bytes up to the end.
 * The same path with `Content-Type: application/json` is the reference system's contract (v2/v3, code on a shared volume).
 *
 * Replies: 200 `SpecializeReply`; 401 wrong token; 409 specialised already (or under way); 400 malformed message;
 * 422 `SpecializeError` when the archive's digest differs, the archive is unsafe, or the code does not load.
 * After a 422 the pod is spent: it refuses everything and is to be deleted.
 */
export const SPECIALIZE_CONTENT_TYPE = "application/vnd.isotope.specialize";

const StringMap = z.record(z.string(), z.string());

/** A secret or config map, delivered as files. `data` is base64 per key. `mountPath` overrides the default folder. */
export const MountedData = z.object({
  namespace: z.string(),
  name: z.string(),
  mountPath: z.string().optional(),
  data: StringMap,
});
export type MountedData = z.infer<typeof MountedData>;

export const SpecializeRequest = z.object({
  /** The pod that is meant; another pod answers 409. */
  podUid: z.string(),
  revision: z.string(),
  function: z.object({
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    resourceVersion: z.string(),
  }),
  /** Entry point inside the archive: `""`, `"file"`, `"file.export"` or `".export"`. */
  functionName: z.string(),
  /** sha256 (hex) and size in bytes of the archive that follows the JSON: a zip, or one JavaScript file. */
  archive: z.object({ sha256: z.string(), sizeBytes: z.number().int().nonnegative() }),
  env: StringMap,
  /** Names in `env` whose values are secret: they are hidden in log lines, as those of `secrets` are. */
  secretEnv: z.array(z.string()).optional(),
  secrets: z.array(MountedData),
  configMaps: z.array(MountedData),
  limits: z.object({
    requestsPerPod: z.number().int().positive(),
    onceOnly: z.boolean(),
    /** Wall clock per request; 0 = none (streaming functions). */
    timeoutMs: z.number().int().nonnegative(),
    maxBodyBytes: z.number().int().positive(),
  }),
  /** Whether error replies carry message and stack. */
  debug: z.boolean(),
});
export type SpecializeRequest = z.infer<typeof SpecializeRequest>;

export const SpecializeReply = z.object({
  podUid: z.string(),
  revision: z.string(),
  /** Milliseconds from the message's arrival to the loaded handler. */
  loadMs: z.number(),
});
export type SpecializeReply = z.infer<typeof SpecializeReply>;

export const SpecializeError = z.object({
  code: z.enum([
    "archive_digest",
    "archive_unsafe",
    "entry_not_found",
    "handler_not_found",
    "load_failed",
    "load_timeout",
  ]),
  /** One sentence for the user. */
  message: z.string(),
  /** Source-mapped stack, when there is one. */
  stack: z.string().optional(),
});
export type SpecializeError = z.infer<typeof SpecializeError>;
