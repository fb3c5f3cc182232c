import {
  LABEL_ENVIRONMENT,
  LABEL_FUNCTION_UID,
  LABEL_REVISION,
  LABEL_SERVICE_NAME,
} from "../../api/names.ts";
import type { PodStatus } from "../../api/wire/pod.ts";
import type { Cluster, KubePod } from "./cluster.ts";
import { isDeploymentPod } from "./deployment-manifest.ts";
import type { Environments } from "./environments.ts";
import type { Fleet } from "./fleet.ts";
import type { Functions } from "./functions.ts";
import type { Pod } from "./pod.ts";
import type { Rollover } from "./rollover.ts";
import type { SharedPods } from "./shared-pods.ts";
import type { SliceWriter } from "./slices.ts";

/** What an executor takes over from the one before it. */
export interface AdoptionParts {
  /** Pods and slices of environments that another executor minds are left alone. */
  readonly owns: (environment: string) => boolean;
  readonly cluster: Pick<Cluster, "listSlices" | "deleteSlice">;
  readonly fleet: Fleet;
  readonly environments: Environments;
  readonly functions: Functions;
  readonly rollover: Rollover;
  readonly slices: SliceWriter;
  readonly shared: SharedPods;
}

const ADOPTION_LIMIT_MS = 3_000;
const ADOPTION_LOOK_MS = 5;
export const ORPHAN_DEADLINE_MS = 60_000;

/** A pod that this process did not make. It is asked what it is; until it answers it counts as one that starts. */
export function adoptPod({ fleet, environments, owns }: AdoptionParts, object: KubePod): void {
  const { namespace, labels = {} } = object.metadata;
  if (!owns(`${namespace}/${labels[LABEL_ENVIRONMENT] ?? ""}`)) return;
  const pod = fleet.adopt(object);
  const pool = environments.pool(pod.environment);
  fleet.observe(object);
  if (pod.phase !== "starting") return;
  if (pod.maker !== "") return;
  if (pool) pool.adopt(pod);
  else fleet.discard(pod, "its Environment does not exist");
}

/** The pod says that it is specialised: the truth about a claim that a crash left half done. */
export function adoptSpecialised(parts: AdoptionParts, pod: Pod, status: PodStatus): void {
  for (const pool of parts.environments.pools(pod.environment)) pool.release(pod);
  pod.phase = "specialised";
  if (!status.functions) return adoptServing(parts, pod, status);
  for (const served of status.functions)
    adoptServing(parts, parts.shared.adopt(pod, served.function?.uid ?? ""), served);
}

function adoptServing(
  { functions, rollover }: AdoptionParts,
  pod: Pod,
  served: Pick<PodStatus, "function" | "revision">,
): void {
  const fn = served.function?.namespace === pod.namespace ? served.function : undefined;
  const revision = functions.revision(fn?.uid ?? "", served.revision ?? "");
  if (revision) revision.adopt(pod);
  // A Deployment takes its pods of earlier revisions away when the new ones serve.
  else if (!isDeploymentPod(pod)) {
    pod.phase = "specialised";
    rollover.orphan(pod, ORPHAN_DEADLINE_MS);
  }
}

/** Slices of revisions that are served are taken over, so that routers keep them until pods were asked; others are deleted. */
export async function adoptSlices({ cluster, functions, slices, owns }: AdoptionParts): Promise<void> {
  for (const slice of await cluster.listSlices()) {
    const { labels = {}, namespace, name } = slice.metadata;
    if (!owns(`${namespace}/${labels[LABEL_ENVIRONMENT] ?? ""}`)) continue;
    // Of the Service of a function: it has its labels, and is Kubernetes' own.
    if (labels[LABEL_SERVICE_NAME] !== undefined) continue;
    const revision = functions.revision(labels[LABEL_FUNCTION_UID] ?? "", labels[LABEL_REVISION] ?? "");
    if (revision) slices.adopt(revision.key, slice);
    else await cluster.deleteSlice(namespace, name);
  }
}

/** Resolves when all pods that ran before have said what they are, or after a few seconds. */
export async function adoptionEnds({ fleet }: AdoptionParts, stopped: () => boolean): Promise<void> {
  const until = performance.now() + ADOPTION_LIMIT_MS;
  const open = () => [...fleet.all()].some((pod) => pod.wasReady && pod.phase === "starting");
  while (open() && performance.now() < until && !stopped())
    await new Promise((resolve) => setTimeout(resolve, ADOPTION_LOOK_MS));
}
