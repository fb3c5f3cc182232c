import { isRefusal } from "./error-text.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import { asPod, type Pod } from "./pod.ts";
import type { PodPlan } from "./pod-plan.ts";
import type { PodState } from "./pod-state.ts";
import { reportStatus } from "./pod-status.ts";

/** Where the port of a pod is told that shares its address with others. */
export const HOST_PORT_ANNOTATION = "localkube.dev/host-port";

export interface StatusWriter {
  /** Writes the status when it differs from the one written last. A pod that is gone is no error. */
  write(plan: PodPlan): Promise<void>;
  /** Whether anything was written yet. */
  hasWritten(): boolean;
}

function newest(pod: Pod, { store }: KubeletContext): Pod {
  const { namespace, name, uid } = pod.metadata;
  const found = store.get("pods", namespace, name);
  return found?.metadata.uid === uid ? asPod(found) : pod;
}

/** Writes a pod's status, and with the first one the binding to the node. */
export function makeStatusWriter(state: PodState, context: KubeletContext): StatusWriter {
  let written = "";
  let bound = state.pod.spec.nodeName === context.nodeName;
  let toldPort = state.pod.metadata.annotations?.[HOST_PORT_ANNOTATION];

  const bind = (): Promise<unknown>[] => {
    const { namespace, name } = state.pod.metadata;
    const port = state.hostPort === undefined ? toldPort : String(state.hostPort);
    if (bound && port === toldPort) return [];
    toldPort = port;
    const patch = {
      ...(bound ? {} : { spec: { nodeName: context.nodeName } }),
      ...(port === undefined ? {} : { metadata: { annotations: { [HOST_PORT_ANNOTATION]: port } } }),
    };
    return [context.store.patch("pods", namespace, name, patch)];
  };

  return {
    hasWritten: () => written !== "",
    async write(plan) {
      const podIP = state.podIP ?? state.pod.status?.podIP;
      const { namespace, name } = state.pod.metadata;
      // As it is in this turn, not as it was last told: a condition that somebody else has set meanwhile must not be lost.
      const pod = newest(state.pod, context);
      const status = reportStatus({ ...state, pod, plan, podIP, hostIP: context.hostIP, nowMs: Date.now() });
      const text = JSON.stringify(status);
      if (text === written) return;
      // Both in one turn, so that they share a commit.
      const writes = [
        ...bind(),
        context.store.patch("pods", namespace, name, { status }, { subresource: "status" }),
      ];
      try {
        await Promise.all(writes);
      } catch (error) {
        toldPort = undefined;
        if (isRefusal(error, 404)) return;
        throw error;
      }
      bound = true;
      written = text;
    },
  };
}
