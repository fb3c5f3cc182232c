import type { PlatformError } from "../../api/errors.ts";
import type { KubeEnvironment } from "./cluster.ts";
import type { Environments } from "./environments.ts";
import type { Pod } from "./pod.ts";
import type { PodCalls } from "./pod-calls.ts";
import type { Ticket } from "./ticket-queue.ts";

/**
 * Pods of environments that allow any number of functions in one (`allowedFunctionsPerContainer: infinite`). Such a pod of the pool is a
 * host; what a function has in it is a place, which is a `Pod` to the rest of the executor: claimed, specialised, retired like any other.
 *
 * Invariants
 * 1. A host has at most one place per function, and none for a function that it still holds from before: two revisions of a function need
 *    two hosts.
 * 2. A place leaves once: its phase becomes `leaving` first, then `onGone` is told. With its host all its places leave.
 * 3. While calls wait for a host, at most one more of its kind (template) is asked of the pool at a time.
 * 4. A host without a place is discarded.
 */
export interface SharedPods {
  /** Gives a place for the function, as `Environments.take` gives pods. */
  readonly take: (
    environment: string,
    functionUid: string,
    kind: HostKind,
    deliver: (place: Pod) => void,
    fail: (error: PlatformError) => void,
  ) => Ticket;
  /** The place of a function that a host holds from a process before this one. */
  readonly adopt: (host: Pod, functionUid: string) => Pod;
  /** Takes a place out of service; the host forgets the function. */
  readonly discard: (place: Pod, reason: string) => void;
  /** The host stopped existing. */
  readonly hostGone: (host: Pod, reason: string, failed: boolean) => void;
  /** A place in the host with this UID. */
  readonly placeIn: (hostUid: string) => Pod | undefined;
}

/** What a host has to be made of: its environment, with the image of the version that is to run in it. */
export interface HostKind {
  readonly environment: KubeEnvironment;
  /** Fingerprint of its pods. */
  readonly template: string;
}

export interface SharedPodsOptions {
  readonly environments: Pick<Environments, "take">;
  /** Calls to one function of a host. */
  readonly connect: (host: Pod, functionUid: string) => PodCalls;
  readonly discardHost: (host: Pod, reason: string) => void;
  readonly onGone: (place: Pod, reason: string, failed: boolean) => void;
}

interface Host {
  readonly pod: Pod;
  readonly places: Map<string, Pod>;
  /** Functions that were told to leave and may not have. */
  readonly leaving: Set<string>;
}

interface Wanted {
  readonly functionUid: string;
  kind: HostKind;
  readonly deliver: (place: Pod) => void;
  readonly fail: (error: PlatformError) => void;
}

/** What one environment has. */
interface Shelf {
  readonly environment: string;
  readonly hosts: Map<Pod, Host>;
  readonly waiting: Set<Wanted>;
  /** By template. */
  readonly asked: Map<string, Asked>;
}

/** A pod that was asked of the pool. */
interface Asked {
  ticket: Ticket | undefined;
}

const CALL_TIMEOUT_MS = 2_000;

interface State {
  readonly options: SharedPodsOptions;
  readonly shelves: Map<string, Shelf>;
  readonly hosts: Map<Pod, Host>;
}

export function createSharedPods(options: SharedPodsOptions): SharedPods {
  const state: State = { options, shelves: new Map(), hosts: new Map() };
  const { hosts } = state;
  return {
    take: (environment, functionUid, kind, deliver, fail) => {
      const shelf = shelfOf(state, environment);
      const wanted: Wanted = { functionUid, kind, deliver, fail };
      shelf.waiting.add(wanted);
      serve(state, shelf);
      return {
        cancel: () => {
          if (shelf.waiting.delete(wanted)) ask(state, shelf);
        },
      };
    },
    adopt: (pod, functionUid) => addPlace(state, hosts.get(pod) ?? addHost(state, pod), functionUid),
    discard: (place, reason) => discard(state, place, reason),
    hostGone: (pod, reason, failed) => hostGone(state, pod, reason, failed),
    placeIn: (hostUid) => {
      for (const { pod, places } of hosts.values())
        if (pod.uid === hostUid) return places.values().next().value;
      return undefined;
    },
  };
}

function shelfOf({ shelves }: State, environment: string): Shelf {
  let shelf = shelves.get(environment);
  if (!shelf) {
    shelf = { environment, hosts: new Map(), waiting: new Set(), asked: new Map() };
    shelves.set(environment, shelf);
  }
  return shelf;
}

function addHost(state: State, pod: Pod): Host {
  const host: Host = { pod, places: new Map(), leaving: new Set() };
  state.hosts.set(pod, host);
  shelfOf(state, pod.environment).hosts.set(pod, host);
  return host;
}

function addPlace({ options }: State, { pod, places }: Host, functionUid: string): Pod {
  const place: Pod = {
    ...pod,
    calls: options.connect(pod, functionUid),
    phase: "claimed",
    host: pod,
    ready: true,
  };
  places.set(functionUid, place);
  return place;
}

/** Gives places to those who wait, as far as hosts have room, and asks for another host for the rest. */
function serve(state: State, shelf: Shelf): void {
  for (const wanted of shelf.waiting) {
    const host = [...shelf.hosts.values()].find((one) => hasRoom(one, wanted));
    if (!host) continue;
    shelf.waiting.delete(wanted);
    wanted.deliver(addPlace(state, host, wanted.functionUid));
  }
  ask(state, shelf);
}

function ask(state: State, shelf: Shelf): void {
  const kinds = new Map([...shelf.waiting].map(({ kind }) => [kind.template, kind]));
  for (const [template, { ticket }] of shelf.asked) {
    if (kinds.has(template)) continue;
    shelf.asked.delete(template);
    ticket?.cancel();
  }
  for (const kind of kinds.values()) if (!shelf.asked.has(kind.template)) askFor(state, shelf, kind);
}

function askFor(state: State, shelf: Shelf, { environment, template }: HostKind): void {
  const asked: Asked = { ticket: undefined };
  shelf.asked.set(template, asked);
  const answered = () => {
    if (shelf.asked.get(template) === asked) shelf.asked.delete(template);
  };
  asked.ticket = state.options.environments.take(
    shelf.environment,
    `${shelf.environment} ${template}`,
    (pod) => {
      answered();
      pod.phase = "specialised";
      addHost(state, pod);
      // The environment has changed since it was asked for: this is what its pods are now.
      for (const wanted of shelf.waiting)
        if (wanted.kind.template === template) wanted.kind = { environment, template: pod.template };
      serve(state, shelf);
    },
    (error) => {
      answered();
      const failed = [...shelf.waiting].filter(({ kind }) => kind.template === template);
      for (const wanted of failed) shelf.waiting.delete(wanted);
      for (const { fail } of failed) fail(error);
    },
    environment,
  );
}

function discard(state: State, place: Pod, reason: string): void {
  const host = place.host && state.hosts.get(place.host);
  if (place.phase === "leaving" || !host) return;
  const [functionUid = ""] = [...host.places].find(([, one]) => one === place) ?? [];
  host.places.delete(functionUid);
  host.leaving.add(functionUid);
  end(state, place, reason, false);
  void leave(state, host, place, functionUid);
}

/** A host that does not answer is no host any more. */
async function leave(state: State, host: Host, place: Pod, functionUid: string): Promise<void> {
  const { options, hosts } = state;
  const told = await place.calls?.drain(CALL_TIMEOUT_MS);
  place.calls?.close();
  if (!hosts.has(host.pod)) return;
  if (told !== true) return options.discardHost(host.pod, "it does not answer");
  host.leaving.delete(functionUid);
  if (host.places.size + host.leaving.size === 0)
    return options.discardHost(host.pod, "no function is left in it");
  serve(state, shelfOf(state, host.pod.environment));
}

function end({ options }: State, place: Pod, reason: string, failed: boolean): void {
  place.phase = "leaving";
  options.onGone(place, reason, failed);
}

function hostGone(state: State, pod: Pod, reason: string, failed: boolean): void {
  const host = state.hosts.get(pod);
  if (!host) return;
  state.hosts.delete(pod);
  shelfOf(state, pod.environment).hosts.delete(pod);
  const places = [...host.places.values()];
  host.places.clear();
  for (const place of places) {
    place.calls?.close();
    end(state, place, reason, failed);
  }
}

const hasRoom = ({ pod, places, leaving }: Host, { functionUid, kind }: Wanted): boolean =>
  pod.phase !== "leaving" &&
  pod.template === kind.template &&
  !places.has(functionUid) &&
  !leaving.has(functionUid);
