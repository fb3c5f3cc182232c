import type { PodContract } from "../../api/wire/executor.ts";
import type { RelayPlan, Upstream } from "./http/types.ts";

/** One pod of a revision, as this router sees it. */
export interface Endpoint {
  readonly podUid: string;
  readonly podName: string;
  readonly namespace: string;
  readonly functionUid: string;
  readonly revision: string;
  /** `ip:port`. */
  readonly address: string;
  readonly upstream: Upstream;
  /** Requests that may run in it at once. */
  readonly capacity: number;
  /** Whether it refuses what it cannot take, so that it is told what is meant. */
  readonly direct: boolean;
  /** Whether it expects `/` where a route is a whole path, as images of the reference system's contract do. */
  readonly servesRoot: boolean;
  /** Endpoints of the same pod that use the same connections, this one included: its functions, where it has several. */
  readonly sharers: Set<Endpoint>;
  /** Header lines of every request to this pod; "" until the function is known. */
  headers: string;
  /** The same for a WebSocket, which has no time limit of a request. */
  tunnelHeaders: string;
  /** By the `PLAN_…` bits (serving-plan.ts); empty until then. */
  plans: readonly RelayPlan[];
  /** Requests of this router that run in it. */
  inFlight: number;
  /** Not to be chosen before this time (clock of the revision), because it refused or could not be reached. */
  restsUntilMs: number;
  /** How often in a row it refused or failed. */
  strikes: number;
  /** It could not be reached, and no request has succeeded since. */
  faulty: boolean;
  /** Once true it gets nothing new: gone from the cluster, spent, or found to be another pod. */
  dropped: boolean;
  /** Its connections are given up; running requests finish. */
  closed: boolean;
  /** Number of EndpointSlices that name it ready. */
  slices: number;
  /** When the executor named it, before any slice did. */
  readonly acquiredAtMs: number;
}

export interface EndpointFacts {
  readonly podUid: string;
  readonly podName: string;
  readonly namespace: string;
  readonly revision: string;
  readonly address: string;
  readonly capacity: number;
  readonly contract: PodContract;
}

export function createEndpoint(
  facts: EndpointFacts,
  upstream: Upstream,
  functionUid: string,
  nowMs: number,
  sharers: Set<Endpoint> = new Set(),
): Endpoint {
  const endpoint: Endpoint = {
    podUid: facts.podUid,
    podName: facts.podName,
    namespace: facts.namespace,
    functionUid,
    revision: facts.revision,
    address: facts.address,
    upstream,
    capacity: facts.capacity,
    direct: facts.contract !== "reference",
    servesRoot: facts.contract !== "direct",
    sharers,
    headers: "",
    tunnelHeaders: "",
    plans: [],
    inFlight: 0,
    restsUntilMs: 0,
    strikes: 0,
    faulty: false,
    dropped: false,
    closed: false,
    slices: 0,
    acquiredAtMs: nowMs,
  };
  sharers.add(endpoint);
  return endpoint;
}

/** Gives up a pod's connections, once: by then its address may belong to another pod. */
export function closeEndpoint(endpoint: Endpoint): void {
  if (endpoint.closed) return;
  endpoint.closed = true;
  endpoint.sharers.delete(endpoint);
  if (endpoint.sharers.size === 0) endpoint.upstream.close();
}
