import type { Serving } from "../../api/kinds/serving.ts";
import { deploymentMaker, deploymentName, versionDeploymentName } from "./deployment-manifest.ts";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";
import { type TicketQueue, ticketQueue } from "./ticket-queue.ts";

export type Scale = NonNullable<Serving["scale"]>;

/** Pods of one revision that wait for their code, and starts that wait for a pod. */
export interface Line {
  readonly spares: Set<Pod>;
  readonly tickets: TicketQueue;
}

/** A Deployment, as it is and as it is to be: of what a function serves, or of one revision that only its versions name. */
export interface Deployed {
  readonly name: string;
  /** It is a version's: it runs one revision for as long as it exists. */
  readonly beside: boolean;
  /** Pods that it is to have before the function's own Deployment takes away those of the revision, and until when that waits for them. */
  covers: { readonly pods: number; readonly untilMs: number } | undefined;
  readonly namespace: string;
  /** What the Deployment is to run. */
  revision: Revision;
  scale: Scale;
  /** Replicas as seen or written last; undefined while there is no Deployment. */
  replicas: number | undefined;
  /** Replicas that there should be; undefined = whatever there are. */
  wanted: number | undefined;
  generation: number;
  /** Pods that the requests need, below which the HorizontalPodAutoscaler must not go. */
  needed: number;
  /** A HorizontalPodAutoscaler works on it. */
  autoscaled: boolean;
  /** Fingerprints of what was written last. */
  writtenTemplate: string;
  writtenScale: string;
  /** Pods that go by the executor's decision. */
  readonly retiring: Set<Pod>;
  /** What was said last about its pods. */
  told: string;
  removed: boolean;
  dirty: boolean;
  busy: boolean;
  /** Told when nothing is left to write. */
  readonly waiting: (() => void)[];
}

export function newDeployed(revision: Revision, scale: Scale, beside = false): Deployed {
  return {
    name: beside ? versionDeploymentName(revision) : deploymentName(revision.identity),
    beside,
    covers: undefined,
    namespace: revision.identity.namespace,
    revision,
    scale,
    replicas: undefined,
    wanted: undefined,
    generation: 0,
    needed: 0,
    autoscaled: false,
    writtenTemplate: "",
    writtenScale: "",
    retiring: new Set(),
    told: "",
    removed: false,
    dirty: false,
    busy: false,
    waiting: [],
  };
}

/** `lines`: by revision key. */
export function lineOf(lines: Map<string, Line>, revisionKey: string): Line {
  let line = lines.get(revisionKey);
  if (!line) lines.set(revisionKey, (line = { spares: new Set(), tickets: ticketQueue() }));
  return line;
}

/** Pods of the Deployment that serve its revision. */
export const servingPods = ({ name, revision }: Deployed): number =>
  revision.available().filter(({ maker }) => maker === deploymentMaker(name)).length;

/** Replicas that the executor wants or sees. */
export const replicasOf = ({ wanted, replicas }: Deployed): number => wanted ?? replicas ?? 0;
