import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { FunctionReference } from "./references.ts";
import { Conditions, int64, Namespace, StringMap, Time, text, withRules } from "./schema.ts";

export const WATCH_EVENTS = ["ADDED", "MODIFIED", "DELETED"] as const;

/** Short names of kinds, as the reference system has them. */
export const WATCH_TYPES = ["POD", "SERVICE", "REPLICATIONCONTROLLER", "JOB"] as const;

const PATH = /^\.?(?:[^.[\]']+|\['[^']*'\]|\[(?:\d+|\*)\])(?:\.[^.[\]']+|\['[^']*'\]|\[(?:\d+|\*)\])*$/;

/** Whether a text is a path of `fields`. */
export const isFieldPath = (path: string): boolean => PATH.test(path);

export const KubernetesWatchTriggerSpec = withRules(
  z.object({
    namespace: Namespace.optional().describe("Must be the trigger's own namespace"),
    type: text(64)
      .optional()
      .describe("POD, SERVICE, REPLICATIONCONTROLLER or JOB; any other kind by apiVersion and kind"),
    apiVersion: text(317).optional().describe("Of the objects, e.g. apps/v1; with kind"),
    kind: text(63).optional().describe("Of the objects, e.g. Deployment; with apiVersion"),
    labelselector: StringMap.optional().describe("Labels that the objects must have"),
    selector: text(1_024)
      .optional()
      .describe("Label selector as text, beside labelselector, e.g. tier in (web, api), !canary"),
    fieldselector: text(1_024).optional().describe("Field selector, e.g. status.phase=Failed"),
    events: z
      .array(z.enum(WATCH_EVENTS))
      .max(WATCH_EVENTS.length)
      .meta({ "x-kubernetes-list-type": "set" })
      .optional()
      .describe("Which changes count; default: all"),
    fields: z
      .array(text(256))
      .max(32)
      .meta({ "x-kubernetes-list-type": "set" })
      .optional()
      .describe(
        "MODIFIED counts only when one of these paths has changed, e.g. status.phase, or of each container status.containerStatuses[*].restartCount",
      ),
    includeExisting: z
      .boolean()
      .optional()
      .describe("Objects that are there when the trigger is made come as ADDED; default false"),
    serviceAccount: text(253)
      .optional()
      .describe(
        "Service account of the same namespace that must be allowed to get, list and watch the objects; default: default",
      ),
    functionref: FunctionReference,
  }),
  [
    { rule: "has(self.apiVersion) == has(self.kind)", message: "apiVersion and kind go together" },
    {
      rule: "(has(self.type) && self.type != '') != has(self.kind)",
      message: "exactly one of type, and apiVersion with kind",
    },
  ],
);

export const KubernetesWatchTriggerStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  connected: z.boolean().optional().describe("Whether the objects are followed now"),
  accepted: int64().optional().describe("Changes that were passed on since following began"),
  lag: int64().optional().describe("Changes that were received and are not dealt with yet"),
  lastEventTime: Time.optional().describe("When a change was passed on last"),
  lastError: text(2048).optional().describe("Why the objects could not be followed, until they can"),
});

export type KubernetesWatchTriggerStatus = z.infer<typeof KubernetesWatchTriggerStatus>;

export type KubernetesWatchTrigger = Resource<
  "KubernetesWatchTrigger",
  z.infer<typeof KubernetesWatchTriggerSpec>,
  KubernetesWatchTriggerStatus
>;
