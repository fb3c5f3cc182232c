import { z } from "zod";

/** The forms of the chart's values. */
export const text = (about: string) => z.string().describe(about);
export const count = (min: number, max: number, about: string) => z.int().min(min).max(max).describe(about);
export const toggle = (about: string) => z.boolean().describe(about);
export const anyObject = (about: string) => z.record(z.string(), z.unknown()).describe(about);
export const anyList = (about: string) => z.array(z.record(z.string(), z.unknown())).describe(about);
export const strings = (about: string) => z.record(z.string(), z.string()).describe(about);
const quantity = z.union([z.string().regex(/^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/), z.number().positive()]);

export const resources = (requests: Record<string, string>, limits: Record<string, string>) =>
  z
    .strictObject({
      requests: z.record(z.string(), quantity).optional(),
      limits: z.record(z.string(), quantity).optional(),
    })
    .describe("Requests and limits of the container")
    .default({ requests, limits });

export const image = (repository: string, about: string) =>
  z
    .strictObject({
      registry: text("Registry of this image; empty = image.registry").default(""),
      repository: text("Name of the image in its registry").default(repository),
      tag: text("Tag; empty = image.tag, and then the chart's appVersion").default(""),
      digest: z
        .string()
        .regex(/^(sha256:[0-9a-f]{64})?$/)
        .describe("Digest sha256:…, instead of the tag")
        .default(""),
    })
    .describe(about)
    .prefault({});
