import { expect, test } from "vitest";
import { type Connection, openConnection } from "./api-client.ts";
import { spawnLocalkube } from "./spawn-localkube.ts";

const PATH = "/api/v1/namespaces/default/configmaps";
const ROUNDS = 4;
const WRITERS = 8;

interface Acknowledged {
  /** Name → last version whose write was acknowledged, or null once its deletion was. */
  versions: Map<string, number | null>;
  /** Names with a write that was sent and not answered. */
  open: Set<string>;
}

/** Creates, changes and deletes objects until the connection breaks, noting what was acknowledged. */
async function hammer(connection: Connection, prefix: string, notes: Acknowledged): Promise<void> {
  for (let n = 0; ; n++) {
    const name = `${prefix}-${n}`;
    try {
      notes.open.add(name);
      const made = await connection.request("POST", PATH, { metadata: { name }, data: { n: "0" } });
      if (made.status !== 201) throw new Error(made.text);
      notes.versions.set(name, Number(made.body.metadata.resourceVersion));
      const put = await connection.request("PUT", `${PATH}/${name}`, { ...made.body, data: { n: "1" } });
      notes.versions.set(name, Number(put.body.metadata.resourceVersion));
      if (n % 3 === 0) {
        const gone = await connection.request("DELETE", `${PATH}/${name}`);
        if (gone.status === 200) notes.versions.set(name, null);
      }
      notes.open.delete(name);
    } catch {
      return;
    }
  }
}

test("every acknowledged write survives kill -9, and no version is given twice", async () => {
  const server = await spawnLocalkube();
  try {
    let highest = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const connection = openConnection(server.kubeconfig);
      const notes: Acknowledged = { versions: new Map(), open: new Set() };
      const writers = Array.from({ length: WRITERS }, (_each, index) =>
        hammer(connection, `r${round}-w${index}`, notes),
      );
      const enough = 60 + round * 37;
      while (notes.versions.size < enough) await new Promise((resolve) => setTimeout(resolve, 5));
      await server.crash();
      await Promise.all(writers);
      connection.close();
      await server.start();
      const after = openConnection(server.kubeconfig);
      const list = (await after.request("GET", PATH)).body;
      const stored = new Map(
        list.items.map((item: { metadata: { name: string; resourceVersion: string } }) => [
          item.metadata.name,
          Number(item.metadata.resourceVersion),
        ]),
      );
      for (const [name, version] of notes.versions) {
        // A write under way when the process died may or may not have happened.
        if (notes.open.has(name)) {
          if (version !== null && stored.has(name)) expect(stored.get(name)).toBeGreaterThanOrEqual(version);
        } else expect(stored.get(name), name).toBe(version ?? undefined);
      }
      for (const version of notes.versions.values()) highest = Math.max(highest, version ?? 0);
      expect(Number(list.metadata.resourceVersion)).toBeGreaterThanOrEqual(highest);
      const next = await after.request("POST", PATH, { metadata: { generateName: "next-" } });
      expect(Number(next.body.metadata.resourceVersion)).toBeGreaterThan(
        Number(list.metadata.resourceVersion),
      );
      after.close();
    }
  } finally {
    await server.stop();
  }
}, 120_000);

test("a watch resumes over a crash without losing or repeating an event", async () => {
  const server = await spawnLocalkube();
  try {
    const before = openConnection(server.kubeconfig);
    const start = (await before.request("GET", PATH)).body.metadata.resourceVersion as string;
    const names: string[] = [];
    for (let n = 0; n < 20; n++) {
      names.push(`event-${n}`);
      await before.request("POST", PATH, { metadata: { name: `event-${n}` } });
    }
    await before.request("DELETE", `${PATH}/event-3`);
    before.close();
    await server.crash();
    await server.start();
    const after = openConnection(server.kubeconfig);
    const watch = await after.watch(`${PATH}?watch=true&resourceVersion=${start}`);
    await watch.until((event) => event.type === "DELETED");
    const added = watch.events
      .filter((event) => event.type === "ADDED")
      .map((event) => event.object.metadata.name);
    expect(added).toEqual(names);
    watch.close();
    after.close();
  } finally {
    await server.stop();
  }
});
