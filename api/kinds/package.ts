import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { EnvironmentReference } from "./references.ts";
import { Conditions, int64, Time, text, withRules } from "./schema.ts";

/** Largest archive that may be written into the Package itself. */
export const LITERAL_MAX_BYTES = 256 * 1024;

const Oci = z.object({
  image: z.string().min(1).max(1024),
  imagePullSecrets: z
    .array(z.object({ name: text(253).default("").optional() }))
    .max(16)
    .optional(),
  subPath: text(1024).optional(),
  digest: z
    .string()
    .max(71)
    .regex(/^sha256:[a-f0-9]{64}$/)
    .optional(),
});

export const Archive = withRules(
  z.object({
    type: z.enum(["", "literal", "url", "oci"]).optional(),
    literal: z
      .string()
      .max(Math.ceil(LITERAL_MAX_BYTES / 3) * 4)
      .meta({ format: "byte" })
      .optional()
      .describe("The archive itself, base64, at most 256 KiB"),
    url: text(4096).optional().describe("Where the archive is"),
    checksum: z
      .object({ type: text(16).optional(), sum: text(128).optional() })
      .optional()
      .describe("sha256 of the archive"),
    oci: Oci.optional(),
  }),
  [
    {
      rule: "!(has(self.oci) && has(self.url) && size(self.url) > 0)",
      message: "url and oci exclude each other",
    },
  ],
);
export type Archive = z.infer<typeof Archive>;

export const PackageSpec = withRules(
  z.object({
    environment: EnvironmentReference,
    source: Archive.optional().describe("Source, built by the environment's builder"),
    deployment: Archive.optional().describe("What pods load; written by the build if there is a source"),
    buildcmd: text(1024).optional().describe("Build command instead of the environment's"),
  }),
  [{ rule: "!has(self.source) || !has(self.source.oci)", message: "oci is for deployment archives only" }],
);
export type PackageSpec = z.infer<typeof PackageSpec>;

export const BUILD_STATUSES = ["", "pending", "running", "succeeded", "failed", "none"] as const;

export const PackageStatus = z.object({
  buildstatus: z.enum(BUILD_STATUSES).default("pending").optional(),
  buildlog: text(262_144).optional(),
  contentHash: text(128).optional().describe("sha256 of what was built or deployed last"),
  sizeBytes: int64().optional().describe("Size of the archive that contentHash names"),
  sourceDigest: text(128)
    .optional()
    .describe("sha256 of the source that the deployment archive was built from"),
  buildInputs: text(128).optional().describe("sha256 over all that the last finished build was made from"),
  lastUpdateTimestamp: Time.optional(),
  conditions: Conditions.optional(),
});
export type PackageStatus = z.infer<typeof PackageStatus>;
export type Package = Resource<"Package", PackageSpec, PackageStatus>;
