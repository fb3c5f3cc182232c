import { z } from "zod";
import { int, Label, Namespace, ObjectName, OptionalLabel, text, withRules } from "./schema.ts";

/** What a trigger calls. */
export const FunctionReference = withRules(
  z.object({
    type: z
      .enum(["name", "function-weights", "workflow"])
      .describe(
        "`name`: one function; `function-weights`: split by weight; `workflow`: a run of a Workflow is started",
      ),
    name: ObjectName.describe("Function, or Workflow, in the same namespace"),
    alias: ObjectName.optional().describe("FunctionAlias to call instead of the latest revision"),
    version: ObjectName.optional().describe("FunctionVersion to call instead of the latest revision"),
    functionweights: z
      .record(z.string(), int(0, 100))
      .meta({ maxProperties: 16 })
      .optional()
      .describe("Function name → share of the traffic in percent"),
  }),
  [
    { rule: "!(has(self.alias) && has(self.version))", message: "alias and version exclude each other" },
    {
      rule: "self.type == 'name' || (!has(self.alias) && !has(self.version))",
      message: "alias and version need type name",
    },
  ],
);
export type FunctionReference = z.infer<typeof FunctionReference>;

export const EnvironmentReference = z.object({
  namespace: Namespace.describe("Must be the object's own namespace"),
  name: OptionalLabel.optional().describe("Not used by container functions"),
});

const mounted = {
  namespace: Namespace.describe("Must be the function's own namespace"),
  name: Label,
  mountPath: text(1024).optional().describe("Folder relative to the root, instead of the default one"),
};
export const SecretReference = z.object(mounted);
export const ConfigMapReference = z.object(mounted);

export const PackageRef = z.object({
  namespace: Namespace.optional(),
  name: OptionalLabel.optional(),
  resourceversion: text(64).optional().describe("A change of it recycles the function's pods"),
});

/** Names that a function's environment may not set: they belong to the platform or would change the runtime itself. */
export const RESERVED_ENV_NAMES = [
  "RESOURCE_VERSION_COUNT",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "LD_PRELOAD",
  "NODE_OPTIONS",
  "PYTHONPATH",
] as const;
/** Prefixes reserved likewise. */
export const RESERVED_ENV_PREFIXES = ["FISSION_", "ISOTOPE_"] as const;

const keySelector = z.object({ name: text(253), key: text(253), optional: z.boolean().optional() });

/** corev1.EnvVar: value, or a key of a secret or config map. */
export const EnvVar = withRules(
  z.object({
    name: z.string().min(1).max(256),
    value: text(32_768).optional(),
    valueFrom: withRules(
      z.object({ secretKeyRef: keySelector.optional(), configMapKeyRef: keySelector.optional() }),
      [
        {
          rule: "has(self.secretKeyRef) != has(self.configMapKeyRef)",
          message: "exactly one of secretKeyRef and configMapKeyRef",
        },
      ],
    ).optional(),
  }),
  [
    { rule: "!(has(self.value) && has(self.valueFrom))", message: "value and valueFrom exclude each other" },
    {
      rule: "!self.name.startsWith('FISSION_') && !self.name.startsWith('ISOTOPE_')",
      message: "names that start with FISSION_ or ISOTOPE_ are reserved",
    },
    {
      rule: `!(self.name in [${RESERVED_ENV_NAMES.map((name) => `'${name}'`).join(", ")}])`,
      message: `reserved names: ${RESERVED_ENV_NAMES.join(", ")}`,
    },
  ],
);
export type EnvVar = z.infer<typeof EnvVar>;

/** corev1.EnvFromSource. */
export const EnvFromSource = withRules(
  z.object({
    prefix: text(256).optional(),
    secretRef: z.object({ name: text(253), optional: z.boolean().optional() }).optional(),
    configMapRef: z.object({ name: text(253), optional: z.boolean().optional() }).optional(),
  }),
  [
    {
      rule: "has(self.secretRef) != has(self.configMapRef)",
      message: "exactly one of secretRef and configMapRef",
    },
  ],
);

/** corev1.ResourceRequirements. */
const Quantity = z.any().meta({ "x-kubernetes-int-or-string": true });
export const ResourceRequirements = z.object({
  limits: z.record(z.string(), Quantity).meta({ maxProperties: 32 }).optional(),
  requests: z.record(z.string(), Quantity).meta({ maxProperties: 32 }).optional(),
});
