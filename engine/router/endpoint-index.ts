import { PlatformError } from "../../api/errors.ts";
import { LABEL_FUNCTION_UID, LABEL_REVISION, LABEL_SERVICE_NAME } from "../../api/names.ts";
import {
  ANNOTATION_CONTRACT,
  ANNOTATION_REQUESTS_PER_POD,
  type Endpoint as AcquiredEndpoint,
  POD_CONTRACTS,
} from "../../api/wire/executor.ts";
import type { EndpointSlice } from "../../kube/core.ts";
import { closeEndpoint, createEndpoint, type Endpoint, type EndpointFacts } from "./endpoint.ts";
import type { Upstreams } from "./http/types.ts";
import { Revision, type RevisionDeps } from "./revision.ts";

/*
 * All pods that this router knows, from EndpointSlices and from the executor's replies. Invariants:
 * 1. One address has one pod: a new one at a known address means that the old one is gone. A pod has an endpoint for each function that
 *    it serves, which is one but for pods of environments that allow any number.
 * 2. A pod that a slice named is dropped when no slice names it any more; one that only the executor named is kept for
 *    `ACQUIRED_GRACE_MS`, since its slice may still be on its way.
 * 3. A pod once dropped does not come back under the same UID until its slices forget it: what it answered is newer than they are.
 * 4. A revision is forgotten when no function serves it, no pod and no request of it is left.
 */

/** How long a pod that was had from the executor may be missing from the slices. */
const ACQUIRED_GRACE_MS = 60_000;

export interface EndpointIndexDeps extends RevisionDeps {
  readonly upstreams: Pick<Upstreams, "at">;
  /** Prepares an endpoint for a revision that serves a function: headers and relay plans. */
  readonly equip: (endpoint: Endpoint, revision: Revision) => void;
  /** Called when a pod of a revision came or went. */
  readonly podsChanged: (revision: Revision) => void;
  /** Called when a revision is forgotten. */
  readonly forgotten: (revision: Revision) => void;
}

export class EndpointIndex {
  readonly #deps: EndpointIndexDeps;
  readonly #revisions = new Map<string, Revision>();
  readonly #byAddress = new Map<string, Set<Endpoint>>();
  /** By pod and function. */
  readonly #byPod = new Map<string, Endpoint>();
  /** Pods named ready, as keys of `#byPod`, per slice key. */
  readonly #slices = new Map<string, readonly string[]>();
  /** How many slots serve or expect a revision, where any does. */
  readonly #pins = new Map<Revision, number>();

  constructor(deps: EndpointIndexDeps) {
    this.#deps = deps;
  }

  /** The revision, made when it is new. */
  revision(uid: string, revision: string): Revision {
    const key = `${uid}/${revision}`;
    let found = this.#revisions.get(key);
    if (!found) this.#revisions.set(key, (found = new Revision(uid, revision, this.#deps)));
    return found;
  }

  /** Keeps a revision although it has no pods, because a function or version serves it; to be undone as often as done. */
  pin(revision: Revision): void {
    this.#pins.set(revision, (this.#pins.get(revision) ?? 0) + 1);
  }

  unpin(revision: Revision): void {
    const left = (this.#pins.get(revision) ?? 1) - 1;
    if (left > 0) this.#pins.set(revision, left);
    else this.#pins.delete(revision);
    this.#forgetIfUnused(revision);
  }

  revisions(): Iterable<Revision> {
    return this.#revisions.values();
  }

  get podCount(): number {
    return this.#byPod.size;
  }

  /** Takes over what a slice says now; undefined = it was deleted. */
  applySlice(key: string, slice: EndpointSlice | undefined): void {
    const facts = slice ? readyPods(slice) : [];
    const uid = slice?.metadata.labels?.[LABEL_FUNCTION_UID] ?? "";
    const pods = facts.map(({ podUid }) => podKey(podUid, uid));
    const before = this.#slices.get(key) ?? [];
    if (pods.length > 0) this.#slices.set(key, pods);
    else this.#slices.delete(key);
    for (const fact of facts) {
      const endpoint = this.#put(uid, fact);
      if (!before.includes(podKey(fact.podUid, uid))) endpoint.slices += 1;
    }
    for (const pod of before) {
      if (pods.includes(pod)) continue;
      const endpoint = this.#byPod.get(pod);
      if (!endpoint) continue;
      endpoint.slices -= 1;
      if (endpoint.slices <= 0) this.#remove(endpoint);
    }
  }

  /** Takes over an executor's reply. @returns how many of its endpoints can be used and were not, or were resting. */
  applyAcquired(revision: Revision, namespace: string, acquired: readonly AcquiredEndpoint[]): number {
    let useful = 0;
    for (const given of acquired) {
      if (given.revision !== revision.revision) continue;
      const known = this.#byPod.get(podKey(given.podUid, revision.uid));
      if (known && !known.dropped) {
        if (known.restsUntilMs !== 0) useful += 1;
        known.restsUntilMs = 0;
        continue;
      }
      if (known) continue;
      this.#put(revision.uid, {
        podUid: given.podUid,
        podName: given.podName,
        namespace,
        revision: given.revision,
        address: given.address,
        capacity: given.requestsPerPod,
        contract: given.contract ?? "direct",
      });
      useful += 1;
    }
    return useful;
  }

  /** Sends nothing more to a pod, whatever the slices still say. */
  drop(endpoint: Endpoint): void {
    const revision = this.#revisionOf(endpoint);
    revision?.drop(endpoint);
    closeEndpoint(endpoint);
    if (endpoint.sharers.size === 0 && this.#byAddress.get(endpoint.address) === endpoint.sharers)
      this.#byAddress.delete(endpoint.address);
    if (revision) this.#deps.podsChanged(revision);
  }

  /** Forgets pods that the executor named and no slice confirmed, and revisions that nobody needs; to be called now and then. */
  sweep(): void {
    const oldest = this.#deps.now() - ACQUIRED_GRACE_MS;
    for (const endpoint of this.#byPod.values()) {
      if (endpoint.slices === 0 && endpoint.acquiredAtMs < oldest && endpoint.inFlight === 0)
        this.#remove(endpoint);
    }
    for (const revision of this.#revisions.values()) this.#forgetIfUnused(revision);
  }

  /** Ends all waiting; for the end of the process. */
  close(): void {
    for (const revision of this.#revisions.values()) {
      for (const waiter of revision.takeWaiting()) waiter.refuse(new PlatformError("draining"));
    }
  }

  #put(uid: string, facts: EndpointFacts): Endpoint {
    const key = podKey(facts.podUid, uid);
    const known = this.#byPod.get(key);
    if (known && known.address === facts.address && known.revision === facts.revision) return known;
    if (known) this.#remove(known);
    for (const previous of this.#byAddress.get(facts.address) ?? [])
      if (previous.podUid !== facts.podUid) this.#remove(previous);
    const colon = facts.address.lastIndexOf(":");
    const host = facts.address.slice(0, colon).replace(/^\[|\]$/g, "");
    const upstream = this.#deps.upstreams.at(host, Number(facts.address.slice(colon + 1)));
    const revision = this.revision(uid, facts.revision);
    const sharers = this.#byAddress.get(facts.address) ?? new Set();
    const endpoint = createEndpoint(facts, upstream, uid, this.#deps.now(), sharers);
    this.#byPod.set(key, endpoint);
    this.#byAddress.set(facts.address, sharers);
    this.#deps.equip(endpoint, revision);
    revision.add(endpoint);
    this.#deps.podsChanged(revision);
    return endpoint;
  }

  #remove(endpoint: Endpoint): void {
    this.#byPod.delete(podKey(endpoint.podUid, endpoint.functionUid));
    const revision = this.#revisionOf(endpoint);
    this.drop(endpoint);
    if (!revision) return;
    revision.shunned.delete(endpoint.podUid);
    this.#forgetIfUnused(revision);
  }

  #revisionOf(endpoint: Endpoint): Revision | undefined {
    return this.#revisions.get(`${endpoint.functionUid}/${endpoint.revision}`);
  }

  #forgetIfUnused(revision: Revision): void {
    const key = keyOfRevision(revision);
    const idle = revision.endpoints.length === 0 && revision.inFlight === 0 && revision.queue.length === 0;
    if (!idle || this.#pins.has(revision) || this.#revisions.get(key) !== revision) return;
    this.#revisions.delete(key);
    this.#deps.forgotten(revision);
  }
}

const podKey = (podUid: string, functionUid: string): string => `${podUid} ${functionUid}`;

const keyOfRevision = (revision: Revision): string => `${revision.uid}/${revision.revision}`;

/** The pods of a slice that may be called. Fields that are missing or odd exclude the pod, not the slice. */
export function readyPods(slice: EndpointSlice): EndpointFacts[] {
  const labels = slice.metadata.labels ?? {};
  const revision = labels[LABEL_REVISION];
  const port = slice.ports?.find((candidate) => candidate.name === "http")?.port ?? slice.ports?.[0]?.port;
  if (!labels[LABEL_FUNCTION_UID] || !revision || port === undefined || slice.metadata.deletionTimestamp)
    return [];
  // Of the Service of a version: Kubernetes' own, which says neither what a pod takes nor that the executor has let it go.
  if (labels[LABEL_SERVICE_NAME] !== undefined) return [];
  const given = Number(slice.metadata.annotations?.[ANNOTATION_REQUESTS_PER_POD] ?? "1");
  const capacity = Number.isSafeInteger(given) && given >= 1 ? given : 1;
  const said = slice.metadata.annotations?.[ANNOTATION_CONTRACT];
  const contract = POD_CONTRACTS.find((known) => known === said) ?? "direct";
  const facts: EndpointFacts[] = [];
  for (const { addresses, conditions, targetRef } of slice.endpoints ?? []) {
    const ip = addresses[0];
    if (!ip || conditions?.ready === false || conditions?.terminating === true || !targetRef?.uid) continue;
    facts.push({
      podUid: targetRef.uid,
      podName: targetRef.name ?? "",
      namespace: targetRef.namespace ?? slice.metadata.namespace ?? "",
      revision,
      address: ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`,
      capacity,
      contract,
    });
  }
  return facts;
}
