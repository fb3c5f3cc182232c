import { afterAll, beforeAll, expect, test } from "vitest";
import { CONFIG_MAPS, EVENTS, LEASES, type ConfigMap } from "../../kube/core.ts";
import { createEventRecorder } from "../../kube/events.ts";
import { addFinalizer, removeFinalizer } from "../../kube/finalizers.ts";
import { createInformer } from "../../kube/informer.ts";
import { isAlreadyExists, isConflict, isInvalid, isNotFound, KubeError } from "../../kube/kube-error.ts";
import { electLeader, joinGroup } from "../../kube/lease.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { PACKAGES } from "../../kube/kinds.ts";
import { type KubeServer, startKube } from "../controller/platform.ts";
import { literalPackage } from "../controller/objects.ts";

let kube: KubeServer;
let client: KubeClient;
beforeAll(async () => {
  kube = await startKube();
  client = kube.client;
});
afterAll(() => kube.stop());

const ref = (name: string) => ({ namespace: "default", name });
const map = (name: string, data: Record<string, string> = {}): ConfigMap => ({ metadata: ref(name), data });
async function until(condition: () => boolean, withinMs = 30_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!condition() && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
}
const failure = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

test("reads, writes, preconditions, and errors that can be told apart", async () => {
  const created = await client.create(CONFIG_MAPS, map("one", { a: "1" }));
  expect(created.metadata.uid).toBeTruthy();
  expect(isAlreadyExists(await failure(client.create(CONFIG_MAPS, map("one"))))).toBe(true);
  const patched = await client.patch(CONFIG_MAPS, ref("one"), { data: { b: "2", a: null } });
  expect(patched.data).toEqual({ b: "2" });
  expect(isConflict(await failure(client.update(CONFIG_MAPS, { ...created, data: {} })))).toBe(true);
  expect(
    isConflict(
      await failure(
        client.patch(CONFIG_MAPS, ref("one"), {
          metadata: { resourceVersion: created.metadata.resourceVersion },
          data: {},
        }),
      ),
    ),
  ).toBe(true);
  expect(await client.find(CONFIG_MAPS, ref("none"))).toBeUndefined();
  expect(isNotFound(await failure(client.get(CONFIG_MAPS, ref("none"))))).toBe(true);
  expect(
    isConflict(await failure(client.delete(CONFIG_MAPS, ref("one"), { preconditions: { uid: "another" } }))),
  ).toBe(true);
  const refused = await failure(
    client.create(PACKAGES, {
      ...literalPackage("bad", "x"),
      spec: { environment: { namespace: "default", name: "NOT VALID" } },
    }),
  );
  expect(isInvalid(refused)).toBe(true);
  expect(refused instanceof KubeError && refused.message).toContain("spec.environment.name");
  await client.create(CONFIG_MAPS, map("dry"), { dryRun: true });
  expect(await client.find(CONFIG_MAPS, ref("dry"))).toBeUndefined();
  await client.delete(CONFIG_MAPS, ref("one"));
  await client.delete(CONFIG_MAPS, ref("one"));
  const wrong = kubeClientWithoutToken();
  expect(await failure((await wrong).get(CONFIG_MAPS, ref("one")))).toMatchObject({ status: 401 });
  await (await wrong).close();
});

async function kubeClientWithoutToken(): Promise<KubeClient> {
  const { loadKubeConnection } = await import("../../kube/connection.ts");
  const { kubeClientOf } = await import("../../kube/client.ts");
  const connection = await loadKubeConnection({ kubeconfig: kube.localkube.kubeconfigPath });
  return kubeClientOf({ ...connection, authorization: () => Promise.resolve("Bearer wrong") });
}

test("an informer sees every change once, through restarts of the server", async () => {
  const informer = createInformer({
    client,
    type: CONFIG_MAPS,
    namespace: "default",
    labelSelector: "set=watched",
  });
  const seen: string[] = [];
  informer.subscribe({ onChange: ({ type, key }) => void seen.push(`${type} ${key}`) });
  informer.start();
  await informer.synced;
  const labelled = (name: string): ConfigMap => ({ metadata: { ...ref(name), labels: { set: "watched" } } });
  await client.create(CONFIG_MAPS, labelled("w1"));
  await client.create(CONFIG_MAPS, map("unlabelled"));
  await until(() => informer.size === 1);
  await kube.restart();
  await until(() => informer.stalenessMs() === 0);
  await client.patch(CONFIG_MAPS, ref("w1"), { data: { x: "1" } });
  await client.create(CONFIG_MAPS, labelled("w2"));
  await client.delete(CONFIG_MAPS, ref("w1"));
  await until(
    () =>
      informer
        .list()
        .map(({ metadata }) => metadata.name)
        .join() === "w2",
  );
  expect(seen).toEqual(["add default/w1", "update default/w1", "add default/w2", "delete default/w1"]);
  await informer.stop();
});

test("finalizers: others' are kept whatever race, and a deleted object waits for its last", async () => {
  const created = await client.create(CONFIG_MAPS, map("final"));
  const names = Array.from({ length: 6 }, (_, index) => `isotope.dev/f${index}`);
  await Promise.all(names.map((name) => addFinalizer(client, CONFIG_MAPS, created, name)));
  expect((await client.get(CONFIG_MAPS, ref("final"))).metadata.finalizers?.toSorted()).toEqual(names);
  await client.delete(CONFIG_MAPS, ref("final"));
  const deleting = await client.get(CONFIG_MAPS, ref("final"));
  expect(deleting.metadata.deletionTimestamp).toBeTruthy();
  expect(await addFinalizer(client, CONFIG_MAPS, deleting, "isotope.dev/late")).toBeUndefined();
  await Promise.all(names.map((name) => removeFinalizer(client, CONFIG_MAPS, created, name)));
  expect(await client.find(CONFIG_MAPS, ref("final"))).toBeUndefined();
  expect(await removeFinalizer(client, CONFIG_MAPS, created, "isotope.dev/f0")).toBeUndefined();
});

test("one leader at a time: an orderly end hands over at once, a hung one is replaced after its duration", async () => {
  const leading = new Set<string>();
  const history: string[] = [];
  const elect = (identity: string, durationMs: number, through: KubeClient = client) =>
    electLeader({
      client: through,
      namespace: "default",
      name: "leader",
      identity,
      durationMs,
      renewDeadlineMs: durationMs * 0.6,
      retryMs: 50,
      onLeading: (lost) => {
        expect(leading.size).toBe(0);
        leading.add(identity);
        history.push(identity);
        lost.addEventListener("abort", () => leading.delete(identity));
      },
    });
  const own = await createKubeClient({ kubeconfig: kube.localkube.kubeconfigPath });
  // Longer than this machine stands still when it is busy.
  const a = elect("a", 4_000, own);
  await until(() => a.isLeading());
  // So long that who waits for their end, and is not told of it, waits longer than this test.
  const b = elect("b", 60_000);
  const c = elect("c", 60_000);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(history).toEqual(["a"]);
  await own.close();
  await until(() => b.isLeading() || c.isLeading());
  expect(a.isLeading()).toBe(false);
  const second = b.isLeading() ? b : c;
  await second.stop();
  const other = second === b ? c : b;
  await until(() => other.isLeading());
  await Promise.all([a.stop(), b.stop(), c.stop()]);
  expect(leading.size).toBe(0);
});

test("members: joined, ended and vanished ones", async () => {
  const views = new Map<string, readonly string[]>();
  const join = (identity: string, through = client) =>
    joinGroup({
      client: through,
      namespace: "default",
      group: "executors",
      identity,
      durationMs: 1_000,
      onChange: (members) => void views.set(identity, members),
    });
  const dying = await createKubeClient({ kubeconfig: kube.localkube.kubeconfigPath });
  const a = join("a");
  const b = join("b");
  const c = join("c", dying);
  await until(() => [a, b].every((one) => one.members().join() === "a,b,c"));
  await b.stop();
  await until(() => a.members().join() === "a,c");
  await dying.close();
  await until(() => a.members().join() === "a");
  await Promise.all([a.stop(), c.stop()]);
  expect(
    (
      await client.list(LEASES, { namespace: "default", labelSelector: "isotope.dev/group=executors" })
    ).items.map(({ metadata }) => metadata.name),
  ).toEqual(["executors-c"]);
});

test("the same event counts up, and a noisy object is cut short", async () => {
  const object = await client.create(CONFIG_MAPS, map("noisy"));
  const recorder = createEventRecorder({ client, component: "test" });
  for (let count = 0; count < 5; count++)
    recorder.record({ ...object, kind: "ConfigMap" }, "Warning", "Same", "again");
  for (let count = 0; count < 100; count++)
    recorder.record({ ...object, kind: "ConfigMap" }, "Normal", "Different", `number ${count}`);
  await recorder.flush();
  const { items } = await client.list(EVENTS, {
    namespace: "default",
    fieldSelector: "involvedObject.name=noisy",
  });
  expect(items.find(({ reason }) => reason === "Same")?.count).toBe(5);
  expect(items.length).toBe(25);
});
