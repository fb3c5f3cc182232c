import type { Serving } from "../../api/kinds/serving.ts";
import { deploymentName } from "./deployment-manifest.ts";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";
import { type TicketQueue, ticketQueue } from "./ticket-queue.ts";

export type Scale = NonNullable<Serving["scale"]>;

/** Pods of one revision that wait for their code, and starts that wait for a pod. */
export interface Line {
  readonly spares: Set<Pod>;
  readonly tickets: TicketQueue;
}

/** A function that has a Deployment of its own, as it is and as it is to be. */
export interface Deployed {
  readonly name: string;
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
  /** By revision key. */
  readonly lines: Map<string, Line>;
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

export function newDeployed(revision: Revision, scale: Scale): Deployed {
  return {
    name: deploymentName(revision.identity),
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
    lines: new Map(),
    retiring: new Set(),
    told: "",
    removed: false,
    dirty: false,
    busy: false,
    waiting: [],
  };
}

export function lineOf({ lines }: Deployed, revisionKey: string): Line {
  let line = lines.get(revisionKey);
  if (!line) lines.set(revisionKey, (line = { spares: new Set(), tickets: ticketQueue() }));
  return line;
}

/** Replicas that the executor wants or sees. */
export const replicasOf = ({ wanted, replicas }: Deployed): number => wanted ?? replicas ?? 0;
