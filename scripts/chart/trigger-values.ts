import { z } from "zod";
import { TRIGGERS_SETTINGS } from "../../engine/triggers/settings.ts";
import { OWNED, pods, replicated, settings } from "./component-forms.ts";
import { count, resources, toggle } from "./value-forms.ts";

/** What a watch trigger may name by default: what people deploy and what tells how it is. Nothing that holds secrets. */
const WATCHABLE = [
  {
    apiGroups: [""],
    resources: [
      "pods",
      "services",
      "endpoints",
      "events",
      "persistentvolumeclaims",
      "replicationcontrollers",
      "resourcequotas",
    ],
  },
  { apiGroups: ["apps"], resources: ["deployments", "replicasets", "statefulsets", "daemonsets"] },
  { apiGroups: ["batch"], resources: ["jobs", "cronjobs"] },
  { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"] },
  { apiGroups: ["networking.k8s.io"], resources: ["ingresses"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"] },
];
const API_GROUP = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$/;
const RESOURCE = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

export const triggers = z
  .strictObject({
    enabled: toggle(
      "Keep and deliver events, where there is a Redis: asynchronous calls, timers, queues, watches",
    ).default(true),
    ...replicated(2),
    drainSeconds: count(
      0,
      3_600,
      "After SIGTERM: longest time for deliveries under way; then other replicas deliver them again",
    ).default(20),
    watchable: z
      .array(
        z.strictObject({
          apiGroups: z.array(z.string().regex(API_GROUP)).min(1).describe('API groups; "" = core'),
          resources: z.array(z.string().regex(RESOURCE)).min(1).describe("Plural names"),
        }),
      )
      .describe(
        "What KubernetesWatchTriggers may watch besides the platform's own kinds, in function namespaces only. The service account that a trigger names needs the right as well",
      )
      .default(WATCHABLE),
    resources: resources({ cpu: "100m", memory: "128Mi" }, { memory: "1Gi" }),
    settings: settings(TRIGGERS_SETTINGS, [
      ...OWNED,
      "function-namespaces",
      "router-internal-url",
      "workflows-url",
      "executor-url",
      "redis-url",
      "drain",
    ]),
    ...pods,
  })
  .describe("Events: asynchronous calls, timers, queues and watches; replicas share them. Needs redis")
  .prefault({});
