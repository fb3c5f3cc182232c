import { afterAll, beforeAll, expect, describe, it, vi } from "vitest";
import type { Outcome } from "../../../engine/triggers/delivery/event.ts";
import { holdVersions } from "../../../engine/triggers/invocations/hold-versions.ts";
import { versionUses } from "../../../api/releases/retention.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { type Functions, functionWorld, type Replica, startReplica } from "./replica.ts";

const done: Outcome = { kind: "done", status: 200, headers: {}, body: Buffer.alloc(0) };
const refused: Outcome = {
  kind: "rejected",
  failure: { status: 400, reason: "function_error", message: "answered 400" },
};

describe.skipIf(!hasRedis)("versions that invocations wait for", () => {
  let server: RedisServer;
  let functions: Functions;
  let on: Replica;
  let answer: Outcome = done;
  beforeAll(async () => {
    server = await startRedisServer();
    functions = functionWorld("default/hello");
    for (const name of ["hello-v1", "hello-v2"])
      functions.versions.set(`default/${name}`, {
        metadata: { namespace: "default", name },
        spec: { functionName: "hello", functionUID: "uid-hello", sequence: 1 },
      } as never);
    on = await startReplica(server.url, functions, async () => answer);
  });
  afterAll(async () => {
    await on?.end();
    await server?.remove();
  });

  /** The API server's side: it merges annotations. */
  const client = {
    patch: (async (_type: unknown, { name }: { name: string }, { metadata }: never) => {
      const version = functions.versions.get(`default/${name}`);
      if (!version) throw new Error(`No version ${name}`);
      const merged: Record<string, string> = { ...version.metadata.annotations };
      for (const [key, value] of Object.entries((metadata as { annotations: object }).annotations))
        if (value === null) delete merged[key];
        else merged[key] = String(value);
      functions.versions.set(`default/${name}`, {
        ...version,
        metadata: { ...version.metadata, annotations: merged },
      });
    }) as never,
  };
  const look = async (): Promise<string[]> => {
    await holdVersions({ client, functions, journal: on.journal });
    const versions = functions.allVersions();
    return [...versionUses({ aliases: [], functions: [], versions, others: [] }).keys()];
  };
  const accept = (version: string) =>
    on.accept({
      event: { id: "", namespace: "default", method: "POST", path: "/", headers: {}, body: Buffer.alloc(0) },
      target: { type: "name", name: "hello", version },
      source: "http",
    });
  const ended = (id: string) =>
    vi.waitFor(async () => expect(["succeeded", "dead"]).toContain((await on.journal.get(id))?.status), {
      timeout: 60_000,
      interval: 20,
    });

  it("are held until the last of them has ended, and again when it is redriven", async () => {
    expect(await look()).toEqual([]);
    const first = await accept("hello-v1");
    const second = await accept("hello-v1");
    const cancelled = await accept("hello-v2");
    expect(await look()).toEqual(["hello-v1", "hello-v2"]);
    await on.journal.cancel(cancelled.id);
    expect(await look()).toEqual(["hello-v1"]);
    answer = refused;
    on.start();
    await Promise.all([ended(first.id), ended(second.id)]);
    expect(await look()).toEqual([]);
    answer = {
      kind: "overloaded",
      afterMs: 60_000,
      failure: { status: 429, reason: "queue_full", message: "" },
    };
    expect(await on.journal.redrive([first.id])).toMatchObject({ count: 1 });
    expect(await look()).toEqual(["hello-v1"]);
  });
});
