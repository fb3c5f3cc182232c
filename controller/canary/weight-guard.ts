import type { CanaryConfig } from "../../api/kinds/index.ts";
import { FINALIZER_CANARY_WEIGHTS } from "../../api/names.ts";
import { addFinalizer, removeFinalizer } from "../../kube/finalizers.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { OwnWrites } from "../../kube/own-writes.ts";

/** Keeps a canary from going while there is a weight to take back. */
export interface WeightGuard {
  isOn(canary: CanaryConfig): boolean;
  /** Gives the object as it is then; nothing when it is being deleted already. */
  put(key: string, canary: CanaryConfig): Promise<CanaryConfig | undefined>;
  take(key: string, canary: CanaryConfig): Promise<void>;
}

export function weightGuard(client: Pick<KubeClient, "patch" | "find">, own: OwnWrites): WeightGuard {
  const isOn = ({ metadata }: CanaryConfig) =>
    metadata.finalizers?.includes(FINALIZER_CANARY_WEIGHTS) ?? false;
  return {
    isOn,
    put: async (key, canary) => {
      if (isOn(canary)) return canary;
      const guarded = await addFinalizer(client, CANARY_CONFIGS, canary, FINALIZER_CANARY_WEIGHTS);
      if (guarded) own.note(key, guarded);
      return guarded;
    },
    take: async (key, canary) => {
      if (!isOn(canary)) return;
      const freed = await removeFinalizer(client, CANARY_CONFIGS, canary, FINALIZER_CANARY_WEIGHTS);
      if (freed) own.note(key, freed);
    },
  };
}
