import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { Container, PodSpec } from "./pod-spec.ts";
import { ResourceRequirements } from "./references.ts";
import { Conditions, int, int64, text, withRules } from "./schema.ts";

export const ENVIRONMENT_DEFAULTS = {
  poolsize: 3,
  terminationGracePeriodS: 90,
  builderCommand: "/build",
} as const;

export const EnvironmentSpec = withRules(
  z.object({
    version: int(1, 3).describe("Contract: 1 one file, 2 builder and archives, 3 also poolsize. Immutable"),
    runtime: z.object({
      image: z.string().min(1).max(1024).describe("Runtime image; serves port 8888"),
      container: Container.optional().describe("Merged into the runtime container"),
      podspec: PodSpec.optional().describe("Merged into the pod"),
    }),
    builder: z
      .object({
        image: text(1024).optional().describe("Builder image"),
        command: text(1024).optional().describe("Build command; default /build"),
        container: Container.optional(),
        podspec: PodSpec.optional(),
      })
      .optional(),
    allowedFunctionsPerContainer: z
      .enum(["single", "infinite"])
      .optional()
      .describe("infinite: several functions share a pod"),
    allowAccessToExternalNetwork: z.boolean().optional(),
    resources: ResourceRequirements.optional().describe("Requests and limits of the runtime container"),
    poolsize: int(0, 10_000).optional().describe("Generic pods kept ready; default 3"),
    terminationGracePeriod: int64()
      .default(ENVIRONMENT_DEFAULTS.terminationGracePeriodS)
      .optional()
      .describe("Seconds; 0 = kill at once"),
    keeparchive: z.boolean().optional().describe("Do not unpack archives"),
    imagepullsecret: text(253).optional(),
  }),
  [{ rule: "self.version == oldSelf.version", message: "version is immutable" }],
);
export type EnvironmentSpec = z.infer<typeof EnvironmentSpec>;

export const EnvironmentStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
});
export type EnvironmentStatus = z.infer<typeof EnvironmentStatus>;
export type Environment = Resource<"Environment", EnvironmentSpec, EnvironmentStatus>;
