import { beforeEach, describe, expect, test } from "vitest";
import { LABEL_FUNCTION_UID, LABEL_REVISION, LABEL_SERVICE_NAME } from "../../api/names.ts";
import { ANNOTATION_REQUESTS_PER_POD } from "../../api/wire/executor.ts";
import type { EndpointSlice } from "../../kube/core.ts";
import type { Endpoint } from "./endpoint.ts";
import { EndpointIndex } from "./endpoint-index.ts";
import { FunctionTable } from "./function-table.ts";
import type { Upstream, Upstreams } from "./http/types.ts";

let nowMs: number;
let equipped: Endpoint[];
let forgotten: string[];
let open: Set<Upstream>;
let index: EndpointIndex;
let rolled: FunctionTable | undefined;

/** Keeps one object per address until it is closed, as the HTTP core does. */
function fakeUpstreams(): Pick<Upstreams, "at"> {
  const byAddress = new Map<string, Upstream>();
  return {
    at: (host, port) => {
      const key = `${host}:${port}`;
      const found = byAddress.get(key);
      if (found) return found;
      const made: Upstream = {
        host,
        port,
        context: undefined,
        active: 0,
        waiting: 0,
        close: () => {
          open.delete(made);
          if (byAddress.get(key) === made) byAddress.delete(key);
        },
      };
      open.add(made);
      byAddress.set(key, made);
      return made;
    },
  };
}

beforeEach(() => {
  nowMs = 1_000;
  equipped = [];
  forgotten = [];
  rolled = undefined;
  open = new Set();
  index = new EndpointIndex({
    limits: {
      queueLength: 10,
      queueWaitMs: 1_000,
      coldStartWaitMs: 1_000,
      scaleUpDelayMs: 10,
      scaleUpAboveMs: 100,
    },
    now: () => nowMs,
    acquire: () => new Promise(() => undefined),
    upstreams: fakeUpstreams(),
    equip: (endpoint) => equipped.push(endpoint),
    podsChanged: (revision) => rolled?.podsChanged(revision),
    forgotten: (revision) => forgotten.push(`${revision.uid}/${revision.revision}`),
  });
});

const slice = (pods: Readonly<Record<string, string>>, revision = "r1", uid = "f1"): EndpointSlice => ({
  metadata: { name: "s", namespace: "n", labels: { [LABEL_FUNCTION_UID]: uid, [LABEL_REVISION]: revision } },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8888 }],
  endpoints: Object.entries(pods).map(([podUid, ip]) => ({
    addresses: [ip],
    conditions: { ready: true },
    targetRef: { uid: podUid, name: podUid },
  })),
});
const acquired = (podUid: string, address: string, revision = "r1") => ({
  podUid,
  podName: podUid,
  address,
  revision,
  requestsPerPod: 1,
});
const podsOf = (uid = "f1", revision = "r1") =>
  index
    .revision(uid, revision)
    .endpoints.map((endpoint) => endpoint.podUid)
    .toSorted();

describe("the endpoint index", () => {
  test("slices add, keep and remove pods; one that two slices name stays until both forget it", () => {
    index.applySlice("n/a", slice({ p1: "10.0.0.1", p2: "10.0.0.2" }));
    index.applySlice("n/b", slice({ p2: "10.0.0.2", p3: "10.0.0.3" }));
    expect(podsOf()).toEqual(["p1", "p2", "p3"]);
    index.applySlice("n/a", slice({ p1: "10.0.0.1" }));
    expect(podsOf()).toEqual(["p1", "p2", "p3"]);
    index.applySlice("n/b", undefined);
    expect(podsOf()).toEqual(["p1"]);
    expect(open.size).toBe(1);
    index.applySlice("n/a", undefined);
    expect(index.podCount).toBe(0);
    expect(forgotten).toEqual(["f1/r1"]);
  });

  test("what Kubernetes says of a version's Service counts for nothing: only the executor knows what a pod takes", () => {
    const own = slice({ p1: "10.0.0.1" });
    own.metadata.annotations = { [ANNOTATION_REQUESTS_PER_POD]: "7" };
    const ofService = slice({ p1: "10.0.0.1", p2: "10.0.0.2" });
    ofService.metadata.labels = { ...ofService.metadata.labels, [LABEL_SERVICE_NAME]: "hello-v1" };
    index.applySlice("n/own", own);
    index.applySlice("n/service", ofService);
    const { endpoints } = index.revision("f1", "r1");
    expect(endpoints.map(({ podUid, capacity }) => [podUid, capacity])).toEqual([["p1", 7]]);
    index.applySlice("n/own", undefined);
    expect(index.podCount).toBe(0);
  });

  test("a pod from the executor stays while its slice is on its way, and goes when none comes", () => {
    const revision = index.revision("f1", "r1");
    index.pin(revision);
    expect(
      index.applyAcquired(revision, "n", [acquired("p1", "10.0.0.1:8888"), acquired("p2", "10.0.0.2:8888")]),
    ).toBe(2);
    index.applySlice("n/a", slice({ p1: "10.0.0.1" }));
    nowMs += 59_000;
    index.sweep();
    expect(podsOf()).toEqual(["p1", "p2"]);
    nowMs += 2_000;
    index.sweep();
    expect(podsOf()).toEqual(["p1"]);
  });

  test("a new pod at a known address means that the old one is gone, whatever its slice says", () => {
    index.applySlice("n/a", slice({ p1: "10.0.0.1" }));
    const [old] = equipped;
    index.applySlice("n/b", slice({ q1: "10.0.0.1" }, "r9", "f2"));
    expect(podsOf()).toEqual([]);
    expect(podsOf("f2", "r9")).toEqual(["q1"]);
    expect(old?.dropped).toBe(true);
    expect(open.has(equipped[1]?.upstream ?? equipped[0]!.upstream)).toBe(true);
    // The old slice's end must not take the new pod's connections.
    index.applySlice("n/a", undefined);
    expect(open.size).toBe(1);
  });

  test("a dropped pod stays dropped under slices and replies, until the slices forget it", () => {
    index.applySlice("n/a", slice({ p1: "10.0.0.1" }));
    const [endpoint] = equipped;
    if (endpoint) index.drop(endpoint);
    const revision = index.revision("f1", "r1");
    expect([...revision.shunned]).toEqual(["p1"]);
    index.applySlice("n/a", slice({ p1: "10.0.0.1" }));
    expect(index.applyAcquired(revision, "n", [acquired("p1", "10.0.0.1:8888")])).toBe(0);
    expect(podsOf()).toEqual([]);
    index.applySlice("n/a", undefined);
    expect([...revision.shunned]).toEqual([]);
  });

  test("the executor's word that a resting pod is free ends its rest", () => {
    index.applySlice("n/a", slice({ p1: "10.0.0.1" }));
    const [endpoint] = equipped;
    if (endpoint) endpoint.restsUntilMs = nowMs + 500;
    expect(index.applyAcquired(index.revision("f1", "r1"), "n", [acquired("p1", "10.0.0.1:8888")])).toBe(1);
    expect(endpoint?.restsUntilMs).toBe(0);
  });

  test("a reply for another revision is ignored", () => {
    expect(
      index.applyAcquired(index.revision("f1", "r1"), "n", [acquired("p1", "10.0.0.1:8888", "r2")]),
    ).toBe(0);
    expect(index.podCount).toBe(0);
  });
});

describe("the function table", () => {
  const serving = (revision: string) => ({
    revision,
    generation: 1,
    package: { name: "p", digest: "d", sizeBytes: 1 },
    functionName: "",
    environment: { name: "e", uid: "u", image: "i", version: 3 },
    executorType: "poolmgr",
    env: [],
    envFrom: [],
    secrets: [],
    configMaps: [],
    limits: {
      concurrency: 1,
      requestsPerPod: 1,
      onceOnly: false,
      retainPods: 0,
      timeoutMs: 1,
      idleTimeoutMs: 1,
      specializationTimeoutMs: 1,
      maxBodyBytes: 1,
    },
    since: "",
  });
  const object = (name: string, uid: string, given?: unknown) => ({
    metadata: { name, namespace: "n", uid, resourceVersion: "7" },
    status: { serving: given },
  });
  let table: FunctionTable;
  let malformed: string[];
  beforeEach(() => {
    malformed = [];
    table = new FunctionTable({
      index,
      bind: () => undefined,
      settled: () => undefined,
      onMalformed: (key) => malformed.push(key),
    });
  });

  test("a route may point to a function before it exists, and keeps its slot after it is gone", () => {
    const slot = table.join("n", "f");
    expect(slot.current).toBeUndefined();
    table.apply(object("f", "f1", serving("r1")));
    expect(slot.current?.revision).toBe("r1");
    table.remove("n/f");
    expect([slot.current, slot.uid, table.get("n", "f")]).toEqual([undefined, undefined, slot]);
    table.leave(slot);
    expect(table.get("n", "f")).toBeUndefined();
    expect(forgotten).toEqual(["f1/r1"]);
  });

  test("a status that cannot be read leaves what serves in force", () => {
    const slot = table.join("n", "f");
    table.apply(object("f", "f1", serving("r1")));
    table.apply(object("f", "f1", { revision: 5 }));
    expect(malformed).toEqual(["n/f"]);
    expect(slot.current?.revision).toBe("r1");
  });

  test("a function made anew under the same name is another one", () => {
    const slot = table.join("n", "f");
    table.apply(object("f", "f1", serving("r1")));
    table.apply(object("f", "f2", serving("r1")));
    expect(slot.current?.uid).toBe("f2");
  });

  describe("whose pods a Deployment rolls", () => {
    const deployed = (revision: string) => ({ ...serving(revision), executorType: "newdeploy" });
    beforeEach(() => {
      rolled = table;
    });

    test("keeps the old revision until the new one has a pod, and tells waiting requests then", () => {
      const slot = table.join("n", "f");
      table.apply(object("f", "f1", deployed("r1")));
      index.applySlice("old", slice({ p1: "10.0.0.1" }, "r1"));
      table.apply(object("f", "f1", deployed("r2")));
      expect(slot.current?.revision).toBe("r1");
      index.applySlice("new", slice({ p2: "10.0.0.2" }, "r2"));
      expect([slot.current?.revision, slot.next]).toEqual(["r2", undefined]);
      index.applySlice("old", undefined);
      expect(forgotten).toEqual(["f1/r1"]);
    });

    test("changes at once when the old revision has no pod, or loses its last", () => {
      const slot = table.join("n", "f");
      table.apply(object("f", "f1", deployed("r1")));
      table.apply(object("f", "f1", deployed("r2")));
      expect(slot.current?.revision).toBe("r2");
      index.applySlice("old", slice({ p1: "10.0.0.1" }, "r2"));
      table.apply(object("f", "f1", deployed("r3")));
      expect(slot.current?.revision).toBe("r2");
      index.applySlice("old", undefined);
      expect(slot.current?.revision).toBe("r3");
    });

    test("goes back, or on to a third one, while it waits", () => {
      const slot = table.join("n", "f");
      table.apply(object("f", "f1", deployed("r1")));
      index.applySlice("old", slice({ p1: "10.0.0.1" }, "r1"));
      table.apply(object("f", "f1", deployed("r2")));
      table.apply(object("f", "f1", deployed("r1")));
      expect([slot.current?.revision, slot.next]).toEqual(["r1", undefined]);
      table.apply(object("f", "f1", deployed("r2")));
      table.apply(object("f", "f1", deployed("r3")));
      expect(slot.next?.revision).toBe("r3");
      index.applySlice("late", slice({ p2: "10.0.0.2" }, "r2"));
      expect(slot.current?.revision).toBe("r1");
      table.remove("n/f");
      expect([slot.current, slot.next]).toEqual([undefined, undefined]);
    });
  });
});

test("functions that share a pod have an endpoint each over the same connections, until the last of them goes", () => {
  const a = index.revision("f1", "r1");
  const b = index.revision("f2", "r1");
  index.applySlice("s1", slice({ p1: "10.0.0.1" }, "r1", "f1"));
  index.applySlice("s2", slice({ p1: "10.0.0.1" }, "r1", "f2"));
  expect([a.endpoints.length, b.endpoints.length, open.size]).toEqual([1, 1, 1]);
  index.applySlice("s1", undefined);
  expect([a.endpoints.length, b.endpoints.length, open.size]).toEqual([0, 1, 1]);
  index.applySlice("s3", slice({ p2: "10.0.0.1" }, "r1", "f3"));
  expect([b.endpoints.length, open.size]).toEqual([0, 1]);
});
