import { z } from "zod";

/**
 * One build in a builder pod: `POST /v1/build`, `Authorization: Bearer <pod token>`,
 * `Content-Type: application/vnd.isotope.build`.
 * Body: uint32 big-endian length of the JSON, the JSON (`BuildRequest`), then the source archive's bytes.
 * Reply (200, chunked): frames of one type byte, a uint32 big-endian length and that many bytes.
 * Type 1 = UTF-8 line of the build log; type 2 = JSON `BuildResult`, the last but one frame; type 3 = the artifact, last, only on success.
 * 400 malformed, 401 wrong token, 429 busy. A connection that ends without frame 2 means that the builder died: retry.
 */
export const BUILD_CONTENT_TYPE = "application/vnd.isotope.build";

export const BuildRequest = z.object({
  namespace: z.string(),
  package: z.string(),
  /** sha256 (hex) and size of the source: a zip, a tar.gz, or one TypeScript/JavaScript file. */
  source: z.object({ sha256: z.string(), sizeBytes: z.number().int().nonnegative(), filename: z.string() }),
  /** The environment's build command; only "" and "build" run the bundler, others are refused by our own image. */
  command: z.string(),
  /** Entry file, from the Package annotation ANNOTATION_ENTRY; "" = looked up: package.json main/exports, deno.json exports, index/main/mod.{ts,tsx,js,mjs,cjs}. */
  entry: z.string(),
  typeCheck: z.boolean(),
  timeoutMs: z.number().int().positive(),
});
export type BuildRequest = z.infer<typeof BuildRequest>;

export const BuildResult = z.discriminatedUnion("outcome", [
  z.object({
    outcome: z.literal("succeeded"),
    sha256: z.string(),
    sizeBytes: z.number().int(),
    durationMs: z.number(),
    warnings: z.number().int(),
  }),
  z.object({
    outcome: z.literal("failed"),
    /** `user`: the source is at fault, do not retry. `platform`: registry or disk trouble, retry. */
    fault: z.enum(["user", "platform"]),
    /** One sentence; the first error as `file:line:column: reason` where there is one. */
    message: z.string(),
  }),
]);
export type BuildResult = z.infer<typeof BuildResult>;

/** Types of the reply's frames. */
export const BUILD_FRAME = { log: 1, result: 2, artifact: 3 } as const;
/** Largest JSON head of a build message, in bytes. */
export const BUILD_HEAD_MAX_BYTES = 64 * 1024;
/** Port of a builder pod. */
export const BUILDER_PORT = 8001;

/** The artifact: a zip (entries stored or deflated) with `index.js`, `index.js.map` and asset files. */
export const ARTIFACT_ENTRY = "index.js";
