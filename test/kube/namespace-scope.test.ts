import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { KubeClient } from "../../kube/client.ts";
import { CONFIG_MAPS, type ConfigMap } from "../../kube/core.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import { KubeError } from "../../kube/kube-error.ts";
import { PACKAGES } from "../../kube/kinds.ts";
import { NAMESPACES, scopedClient } from "../../kube/namespace-scope.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import { literalPackage } from "../controller/objects.ts";
import { type KubeServer, startKube } from "../controller/platform.ts";
import { eventually } from "../eventually.ts";

const LABELS = ["isotope.dev/functions=enabled", "fission.io/enabled=true"];
let kube: KubeServer;
let client: KubeClient;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  kube = await startKube();
  client = kube.client;
});
afterAll(() => kube.stop());
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function namespace(name: string, labels: Record<string, string> = {}): Promise<void> {
  await client.create(NAMESPACES, { metadata: { name, labels } });
}
const label = (name: string, labels: Record<string, string | null>) =>
  client.patch(NAMESPACES, { name }, { metadata: { labels } });
const map = (where: string, name: string): ConfigMap => ({ metadata: { namespace: where, name }, data: {} });

/** A client over the scope whose own connections are the shared client's. */
function scoped(): KubeClient {
  const made = scopedClient({ ...client, close: () => Promise.resolve() }, LABELS);
  stops.push(() => made.close());
  return made;
}
function follow<T extends KubeObject>(over: KubeClient, type: ResourceType<T>, names: RegExp) {
  const seen: string[] = [];
  const informer: Informer<T> = createInformer({ client: over, type, backoff: { baseMs: 5, maxMs: 50 } });
  informer.subscribe({
    onChange: (change) => {
      const { metadata } = change.type === "delete" ? change.previous : change.object;
      if (names.test(metadata.name)) seen.push(`${change.type} ${change.key}`);
    },
  });
  informer.start();
  stops.push(() => informer.stop());
  return { seen, informer };
}
const settles = (seen: string[], wanted: string[]) =>
  eventually(
    () => Promise.resolve(seen.toSorted()),
    (now) => JSON.stringify(now) === JSON.stringify(wanted.toSorted()),
  );

test.each([
  ["a kind with a watch per namespace", "each", CONFIG_MAPS],
  ["a kind with one watch of all", "all", PACKAGES],
] as const)("%s: namespaces come and go by either label", async (_title, stem, type) => {
  const [a, b, c] = [`${stem}-a`, `${stem}-b`, `${stem}-c`];
  await namespace(a, { "isotope.dev/functions": "enabled" });
  await namespace(b);
  const put = (where: string, name: string) =>
    type === CONFIG_MAPS
      ? client.create(CONFIG_MAPS, map(where, name))
      : client.create(PACKAGES, { ...literalPackage(name, "x"), metadata: { namespace: where, name } });
  await put(a, "one");
  await put(b, "two");
  const over = scoped();
  const { seen, informer } = follow<KubeObject>(over, type, /^(one|two|three|four)$/);
  await informer.synced;
  expect(seen).toEqual([`add ${a}/one`]);

  await label(b, { "fission.io/enabled": "true" });
  await settles(seen, [`add ${a}/one`, `add ${b}/two`]);
  await put(b, "three");
  await settles(seen, [`add ${a}/one`, `add ${b}/two`, `add ${b}/three`]);

  seen.length = 0;
  await label(b, { "fission.io/enabled": "false" });
  await settles(seen, [`delete ${b}/two`, `delete ${b}/three`]);
  seen.length = 0;
  await put(b, "four");
  await namespace(c, { "isotope.dev/functions": "enabled" });
  await put(c, "four");
  await settles(seen, [`add ${c}/four`]);

  const listed = (await over.list<KubeObject>(type)).items.map(({ metadata }) => metadata.namespace);
  expect(listed.filter((name) => name?.startsWith(stem))).not.toContain(b);
  expect(listed).toContain(c);
  seen.length = 0;
  await client.delete(NAMESPACES, { name: c });
  await settles(seen, [`delete ${c}/four`]);
});

test("an empty scope is synced, and what names a namespace is not limited", async () => {
  await namespace("outside");
  await client.create(CONFIG_MAPS, map("outside", "seen"));
  const over = scopedClient({ ...client, close: () => Promise.resolve() }, ["isotope.dev/none=x"]);
  stops.push(() => over.close());
  const { informer } = follow(over, CONFIG_MAPS, /./);
  await informer.synced;
  expect(informer.hasSynced()).toBe(true);
  expect(informer.size).toBe(0);
  expect(informer.stalenessMs()).toBe(0);
  expect((await over.list(CONFIG_MAPS)).items).toEqual([]);
  expect((await over.list(CONFIG_MAPS, { namespace: "outside" })).items).toHaveLength(1);
  expect(await over.find(CONFIG_MAPS, { namespace: "outside", name: "seen" })).toBeDefined();
});

test("a namespace that may not be read yet holds up no other, and is taken up when it may", async () => {
  await namespace("granted", { "isotope.dev/functions": "enabled" });
  await namespace("denied", { "isotope.dev/functions": "enabled" });
  await client.create(CONFIG_MAPS, map("granted", "here"));
  await client.create(CONFIG_MAPS, map("denied", "there"));
  let denied = true;
  const limited: KubeClient = {
    ...client,
    close: () => Promise.resolve(),
    list: (type, options) =>
      denied && options?.namespace === "denied"
        ? Promise.reject(new KubeError(403, "Forbidden", "no RoleBinding yet"))
        : client.list(type, options),
  };
  const over = scopedClient(limited, LABELS);
  stops.push(() => over.close());
  const { seen, informer } = follow(over, CONFIG_MAPS, /^(here|there)$/);
  await informer.synced;
  expect(seen).toEqual(["add granted/here"]);
  denied = false;
  await settles(seen, ["add granted/here", "add denied/there"]);
});

test("a malformed label is refused at once", () => {
  expect(() => scopedClient(client, ["enabled"])).toThrow(
    'Cannot select namespaces by "enabled": it must be key=value',
  );
  expect(scopedClient(client, ["*"])).toBe(client);
});
