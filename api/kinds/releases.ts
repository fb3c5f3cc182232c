import { z } from "zod";
import { FunctionSpec } from "./function.ts";
import type { Resource } from "./metadata.ts";
import { Conditions, int, int64, Label, ObjectName, text, Time, withRules } from "./schema.ts";

const Digest = z
  .string()
  .max(71)
  .regex(/^sha256:[a-f0-9]{64}$/);

export const CanaryConfigSpec = z.object({
  trigger: ObjectName.describe("HTTPTrigger whose traffic is split"),
  newfunction: ObjectName,
  oldfunction: ObjectName,
  weightincrement: int(0, 100).optional().describe("Percent per step; default 20"),
  duration: text(32).optional().describe("Time between steps, e.g. 2m"),
  failurethreshold: int(0, 100).optional().describe("Percent of failures that ends the release; default 10"),
  failureType: text(64).optional(),
});
export const CanaryConfigStatus = z.object({
  status: text(32).optional(),
  conditions: Conditions.optional(),
});

export const FunctionVersionSpec = withRules(
  z.object({
    functionName: ObjectName,
    functionUID: text(64),
    functionGeneration: int64(),
    sequence: int64(1),
    snapshot: FunctionSpec.describe("The function as it was published"),
    packageDigest: text(128),
    envObservedGeneration: int64().optional(),
    envRuntimeImage: text(1024).optional(),
    publishedAt: Time,
  }),
  [
    {
      rule: "self.sequence == oldSelf.sequence && self.packageDigest == oldSelf.packageDigest && self.functionUID == oldSelf.functionUID",
      message: "a version is immutable",
    },
  ],
);
export type FunctionVersion = Resource<"FunctionVersion", z.infer<typeof FunctionVersionSpec>, never>;

export const FunctionAliasSpec = withRules(
  z.object({
    functionName: ObjectName,
    version: text(253).optional(),
    packageDigest: Digest.optional(),
    weight: int(0, 100).optional().describe("Share of the primary version in percent"),
    secondaryVersion: text(253).optional(),
  }),
  [
    {
      rule: "!(has(self.version) && has(self.packageDigest))",
      message: "version and packageDigest exclude each other",
    },
  ],
);
export const FunctionAliasStatus = z.object({
  resolvedVersion: text(253).optional(),
  history: z
    .array(z.object({ version: text(253), packageDigest: text(128).optional(), switchedAt: Time }))
    .max(10)
    .optional(),
  conditions: Conditions.optional(),
});

export const FissionTenantSpec = withRules(
  z.object({
    namespace: Label.describe("Namespace that the platform serves"),
    functionNamespace: Label.optional(),
    builderNamespace: Label.optional(),
  }),
  [{ rule: "self.__namespace__ == oldSelf.__namespace__", message: "namespace is immutable" }],
);
export type FissionTenantSpec = z.infer<typeof FissionTenantSpec>;
