import { z } from "zod";
import { FunctionSpec } from "./function.ts";
import type { Resource } from "./metadata.ts";
import { Conditions, int, int64, Label, ObjectName, Time, text, withRules } from "./schema.ts";
import { Serving } from "./serving.ts";

const Digest = z
  .string()
  .max(71)
  .regex(/^sha256:[a-f0-9]{64}$/);

export const FunctionVersionSpec = withRules(
  z.object({
    functionName: ObjectName,
    functionUID: text(64),
    functionGeneration: int64(),
    sequence: int64(1),
    snapshot: FunctionSpec.describe("The function as it was published"),
    packageDigest: text(128).describe("sha256:… of the built archive; empty for container functions"),
    envObservedGeneration: int64().optional(),
    envRuntimeImage: text(1024).optional().describe("Image that the version goes on running on"),
    publishedAt: Time,
  }),
  [{ rule: "self == oldSelf", message: "a version is immutable" }],
);
export type FunctionVersionSpec = z.infer<typeof FunctionVersionSpec>;
export const FunctionVersionStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  serving: Serving.optional().describe("The revision that requests to this version get"),
});
export type FunctionVersionStatus = z.infer<typeof FunctionVersionStatus>;
export type FunctionVersion = Resource<"FunctionVersion", FunctionVersionSpec, FunctionVersionStatus>;

export const FunctionAliasSpec = withRules(
  z.object({
    functionName: ObjectName,
    version: text(253).optional(),
    packageDigest: Digest.optional().describe("The newest version with this archive"),
    weight: int(0, 100)
      .optional()
      .describe("Share of version in percent; the rest goes to secondaryVersion. Default 100"),
    secondaryVersion: text(253).optional(),
  }),
  [
    {
      rule: "!(has(self.version) && has(self.packageDigest))",
      message: "version and packageDigest exclude each other",
    },
  ],
);
export type FunctionAliasSpec = z.infer<typeof FunctionAliasSpec>;

/** How many switches an alias remembers. */
export const ALIAS_HISTORY = 10;
export const FunctionAliasStatus = z.object({
  observedGeneration: int64().optional(),
  resolvedVersion: text(253).optional(),
  history: z
    .array(z.object({ version: text(253), packageDigest: text(128).optional(), switchedAt: Time }))
    .max(ALIAS_HISTORY)
    .optional()
    .describe("What the alias was switched to, the newest (the present one) first"),
  conditions: Conditions.optional(),
});
export type FunctionAliasStatus = z.infer<typeof FunctionAliasStatus>;
export type FunctionAlias = Resource<"FunctionAlias", FunctionAliasSpec, FunctionAliasStatus>;

export const FissionTenantSpec = withRules(
  z.object({
    namespace: Label.describe("Namespace that the platform serves"),
    functionNamespace: Label.optional(),
    builderNamespace: Label.optional(),
  }),
  [{ rule: "self.__namespace__ == oldSelf.__namespace__", message: "namespace is immutable" }],
);
export type FissionTenantSpec = z.infer<typeof FissionTenantSpec>;
