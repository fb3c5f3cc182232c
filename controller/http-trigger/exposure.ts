/**
 * Keeps the Ingress and HTTPRoute objects of triggers as they should be.
 *
 * Invariants
 * X1. A trigger has at most one object, of the kind that it asks for; changed ways of exposure leave nothing behind.
 * X2. Objects without a trigger are removed, also when the trigger vanished while nobody looked.
 * X3. Only a trigger whose route is admitted has an object: who lost a path to another must not take its host.
 */
import type { HTTPTrigger } from "../../api/kinds/index.ts";
import { LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { ConditionUpdate } from "../../kube/conditions.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import {
  ANNOTATION_TRIGGER,
  type ExposureSettings,
  exposureOf,
  HTTP_ROUTES,
  INGRESSES,
  ROUTE_COMPONENT,
} from "./route-objects.ts";

const FIELD_MANAGER = "isotope-controller";
const BY_TRIGGER = "trigger";

export interface ExposureKeeper {
  start(): void;
  stop(): Promise<void>;
  readonly synced: Promise<unknown>;
  /** Brings triggers to the queue whose objects somebody else changed or that are gone. */
  watch(enqueue: (key: string) => void): void;
  /**
   * Makes the trigger's object so; `admitted` false or no trigger: takes it away.
   * Returns the condition Exposed, or nothing when the trigger asks for no object.
   */
  settle(
    key: string,
    trigger: HTTPTrigger | undefined,
    admitted: boolean,
  ): Promise<ConditionUpdate | undefined>;
}

export function exposureKeeper(
  client: KubeClient,
  settings: ExposureSettings,
  onError: (kind: string, error: unknown, failures: number) => void,
): ExposureKeeper {
  const types = settings.gateway ? [INGRESSES, HTTP_ROUTES] : [INGRESSES];
  const informers = new Map<ResourceType, Informer<KubeObject>>(
    types.map((type) => [
      type,
      createInformer<KubeObject>({
        client,
        type,
        namespace: settings.namespace,
        labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY},${LABEL_COMPONENT}=${ROUTE_COMPONENT}`,
        indexes: { [BY_TRIGGER]: (object) => [object.metadata.annotations?.[ANNOTATION_TRIGGER] ?? ""] },
        onError: (error, failures) => onError(type.kind, error, failures),
      }),
    ]),
  );
  const removeOthers = async (key: string, kept?: { type: ResourceType; name: string }): Promise<void> => {
    for (const [type, informer] of informers) {
      for (const { metadata } of informer.byIndex(BY_TRIGGER, key))
        if (kept?.type !== type || kept.name !== metadata.name) await client.delete(type, metadata);
    }
  };
  return {
    start: () => informers.forEach((informer) => informer.start()),
    stop: async () => {
      await Promise.all([...informers.values()].map((informer) => informer.stop()));
    },
    // A cluster without the Gateway API's kinds never lists them: nothing waits for that.
    synced: informers.get(INGRESSES)?.synced ?? Promise.resolve(),
    watch: (enqueue) => {
      for (const informer of informers.values()) {
        informer.subscribe({
          onChange: (change) => {
            const { metadata } = change.type === "delete" ? change.previous : change.object;
            const key = metadata.annotations?.[ANNOTATION_TRIGGER];
            if (key) enqueue(key);
          },
        });
      }
    },
    settle: async (key, trigger, admitted) => {
      const exposure = trigger && admitted ? exposureOf(trigger, settings) : undefined;
      if (exposure?.kind !== "object") {
        await removeOthers(key);
        if (exposure?.kind === "invalid") return refused("InvalidIngressConfig", exposure.message);
        const asked = trigger !== undefined && exposureOf(trigger, settings).kind !== "none";
        return asked
          ? refused("RouteNotAdmitted", "The route is not admitted, so it is not offered outside")
          : undefined;
      }
      const { type, object } = exposure;
      try {
        await client.patch(
          type,
          object.metadata,
          { ...object, apiVersion: type.apiVersion, kind: type.kind },
          {
            strategy: "apply",
            fieldManager: FIELD_MANAGER,
            force: true,
          },
        );
      } catch (error) {
        if (type !== HTTP_ROUTES || !isNotFound(error)) throw error;
        return refused("GatewayApiMissing", "The cluster has no HTTPRoutes: install the Gateway API's CRDs");
      }
      await removeOthers(key, { type, name: object.metadata.name });
      return {
        type: "Exposed",
        status: "True",
        reason: `${type.kind}Applied`,
        message: `${type.kind} "${object.metadata.name}" in namespace "${settings.namespace}" leads to the router`,
      };
    },
  };
}

const refused = (reason: string, message: string): ConditionUpdate => ({
  type: "Exposed",
  status: "False",
  reason,
  message,
});
