import type { PodCalls } from "./pod-calls.ts";

/**
 * Where a pod is in its one-way life: `starting` → `generic` → `claimed` → `specialised` → `leaving`; every phase may go to `leaving`.
 * `claimed` = a specialisation is under way.
 */
export type PodPhase = "starting" | "generic" | "claimed" | "specialised" | "leaving";

/** A pod as the executor holds it. Only `fleet.ts` makes and ends one; its phase is set by whoever owns the pod in that phase. */
export interface Pod {
  readonly namespace: string;
  /** Unique for ever: names carry random letters and are not used again. */
  readonly name: string;
  /** Key of its Environment, `namespace/name`. */
  readonly environment: string;
  /** Fingerprint of the pod template that it was made from. */
  readonly template: string;
  readonly createdAtMs: number;
  /** Empty until the API server's answer or the first watch event. */
  uid: string;
  /** `ip:port`, empty until the pod has an address. */
  address: string;
  calls: PodCalls | undefined;
  phase: PodPhase;
  /** What made the pod, `replicaset/<name>` or `deployment/<name>`; empty for a pod that an executor made. */
  readonly maker: string;
  /** Key of the revision (`functionUid/revision`) that it was made for; empty for a pod that an executor made. */
  readonly madeFor: string;
  /** It runs any HTTP server: nobody specialises it or asks it anything, and Kubernetes says whether it can serve. */
  readonly plain: boolean;
  /** Restarts of its container that happened while it was generic; a further one makes it unfit. */
  restarts: number;
  /** The API server says that it is ready, which may be later than the pod itself does. */
  ready: boolean;
  /** Its labels say what it serves, so that its ReplicaSet counts it whether it is ready or not. */
  counted: boolean;
  /** Made by a process before this one, so it may be specialised. */
  readonly found: boolean;
  /** Of a place in a pod that several functions share: that pod (`shared-pods.ts`). */
  readonly host?: Pod;
  /** A found pod that was ready when it was found. */
  readonly wasReady: boolean;
}

export const podKey = (namespace: string, name: string): string => `${namespace}/${name}`;
