import {
  API_GROUP_VERSION,
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_FUNCTION_NAME,
  LABEL_FUNCTION_UID,
  LABEL_MANAGED_BY,
  LABEL_REVISION,
  MANAGED_BY,
} from "../../api/names.ts";
import { ANNOTATION_CONTRACT, ANNOTATION_REQUESTS_PER_POD } from "../../api/wire/executor.ts";
import type { Cluster, KubeSlice, SliceEndpoint, SliceManifest } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import { COMPONENT } from "./pod-manifest.ts";
import type { Revision } from "./revision.ts";

/**
 * Publishes the addresses of revisions as EndpointSlices, off the path of requests.
 *
 * Invariants
 * 1. One writer per revision: its slices are written one write after the other, the newest state last.
 * 2. Changes during a write end up in the next one, however many they are.
 * 3. A failed write is tried again until it succeeds or a newer state replaces it.
 */
export interface SliceWriter {
  /** The revision's published pods changed. */
  touch(revision: Revision): void;
  /** Takes a slice over that a process before this one wrote for `revisionKey`. */
  adopt(revisionKey: string, slice: KubeSlice): void;
  /** Resolves when nothing is left to write. */
  settled(): Promise<void>;
  close(): void;
}

export interface SliceWriterOptions {
  readonly cluster: Pick<Cluster, "applySlice" | "deleteSlice">;
  readonly log: ExecutorLog;
  /** Pods of the revision that routers may use; none = no slice. */
  readonly published: (revision: Revision) => Iterable<Pod>;
  /** Called before a write; for tests of crashes. */
  readonly beforeWrite?: () => void;
}

/** Kubernetes' own default for one slice is 100; 1000 is the API's limit. */
const MAX_ENDPOINTS = 500;
const FIRST_WRITE_AFTER_MS = 20;
const RETRY_MS = { first: 200, most: 10_000 };

interface Writer {
  revision: Revision;
  dirty: boolean;
  busy: boolean;
  /** Names of the slices that exist, or may exist. */
  names: Set<string>;
}

export function createSliceWriter(options: SliceWriterOptions): SliceWriter {
  const writers = new Map<string, Writer>();
  const adopted = new Map<string, Set<string>>();
  let idle: (() => void)[] = [];
  let closed = false;

  const run = async (writer: Writer): Promise<void> => {
    writer.busy = true;
    let delayMs = RETRY_MS.first;
    while (writer.dirty) {
      if (closed) return;
      writer.dirty = false;
      try {
        await write(writer);
        delayMs = RETRY_MS.first;
      } catch (error) {
        writer.dirty = true;
        const { identity } = writer.revision;
        options.log.warn("cannot write EndpointSlice, trying again", { function: identity.name, error });
        await new Promise((resolve) => setTimeout(resolve, delayMs).unref());
        delayMs = Math.min(delayMs * 2, RETRY_MS.most);
      }
    }
    writer.busy = false;
    if (writer.names.size === 0) writers.delete(writer.revision.key);
    if ([...writers.values()].every(({ busy }) => !busy)) {
      for (const resolve of idle) resolve();
      idle = [];
    }
  };

  const write = async (writer: Writer): Promise<void> => {
    const wanted = sliceManifests(writer.revision, options.published(writer.revision));
    if (wanted.length > 0 || writer.names.size > 0) options.beforeWrite?.();
    for (const slice of wanted) {
      writer.names.add(slice.metadata.name);
      await options.cluster.applySlice(slice);
    }
    const names = new Set(wanted.map(({ metadata }) => metadata.name));
    for (const name of writer.names) {
      if (names.has(name)) continue;
      await options.cluster.deleteSlice(writer.revision.identity.namespace, name);
      writer.names.delete(name);
    }
  };

  const touch = (revision: Revision) => {
    if (closed) return;
    let writer = writers.get(revision.key);
    if (!writer) {
      writer = { revision, dirty: false, busy: false, names: adopted.get(revision.key) ?? new Set() };
      adopted.delete(revision.key);
      writers.set(revision.key, writer);
    }
    writer.revision = revision;
    writer.dirty = true;
    // A turn later, so that several pods that join together are one write and the caller's answer goes out first. Who waits for the first
    // pod has its address already: writing and watching it must not take the processors from the first reply.
    if (!writer.busy) {
      writer.busy = true;
      const starting = writer;
      if (writer.names.size === 0) setTimeout(() => void run(starting), FIRST_WRITE_AFTER_MS);
      else setImmediate(() => void run(starting));
    }
  };

  return {
    touch,
    adopt: (revisionKey, slice) => {
      const names = adopted.get(revisionKey) ?? new Set();
      names.add(slice.metadata.name);
      adopted.set(revisionKey, names);
    },
    settled: () =>
      [...writers.values()].some(({ busy }) => busy)
        ? new Promise((resolve) => {
            idle.push(resolve);
          })
        : Promise.resolve(),
    close: () => {
      closed = true;
    },
  };
}

/** The slices of a revision: pods by port (a port per pod where pods share an address), in chunks. */
export function sliceManifests(revision: Revision, pods: Iterable<Pod>): SliceManifest[] {
  const byPort = new Map<number, SliceEndpoint[]>();
  let addressType: "IPv4" | "IPv6" = "IPv4";
  for (const pod of pods) {
    const at = pod.address.lastIndexOf(":");
    const ip = pod.address.slice(0, at).replace(/^\[|\]$/g, "");
    const port = Number(pod.address.slice(at + 1));
    if (ip.includes(":")) addressType = "IPv6";
    const endpoints = byPort.get(port) ?? [];
    endpoints.push({
      addresses: [ip],
      conditions: { ready: true },
      targetRef: { kind: "Pod", name: pod.name, namespace: pod.namespace, uid: pod.uid },
    });
    byPort.set(port, endpoints);
  }
  const slices: SliceManifest[] = [];
  for (const [port, endpoints] of byPort) {
    for (let at = 0; at < endpoints.length; at += MAX_ENDPOINTS)
      slices.push(
        manifest(revision, addressType, port, at / MAX_ENDPOINTS, endpoints.slice(at, at + MAX_ENDPOINTS)),
      );
  }
  return slices;
}

function manifest(
  revision: Revision,
  addressType: "IPv4" | "IPv6",
  port: number,
  chunk: number,
  endpoints: SliceEndpoint[],
): SliceManifest {
  const { identity, serving } = revision;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${identity.name}-${serving.revision}-${port}${chunk === 0 ? "" : `-${chunk}`}`,
      namespace: identity.namespace,
      labels: {
        [LABEL_MANAGED_BY]: MANAGED_BY,
        [LABEL_COMPONENT]: COMPONENT,
        [LABEL_ENVIRONMENT]: serving.environment.name,
        [LABEL_FUNCTION_NAME]: identity.name,
        [LABEL_FUNCTION_UID]: identity.uid,
        [LABEL_REVISION]: serving.revision,
      },
      annotations: {
        [ANNOTATION_REQUESTS_PER_POD]: String(serving.limits.requestsPerPod),
        ...(serving.environment.contract ? { [ANNOTATION_CONTRACT]: serving.environment.contract } : {}),
      },
      ownerReferences: [
        {
          apiVersion: API_GROUP_VERSION,
          kind: "Function",
          name: identity.name,
          uid: identity.uid,
          controller: true,
        },
      ],
    },
    addressType,
    ports: [{ name: "http", port, protocol: "TCP" }],
    endpoints,
  };
}
