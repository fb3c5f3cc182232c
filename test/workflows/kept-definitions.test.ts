import { createHash } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Workflow } from "../../api/kinds/index.ts";
import { newRun } from "../../workflows/core/new-run.ts";
import type { DefinitionArchives } from "../../workflows/definitions/definition-archives.ts";
import { definitionRegister } from "../../workflows/definitions/definition-register.ts";
import { definitionKeeper } from "../../workflows/definitions/keep-definitions.ts";
import { memoryJournal } from "../../workflows/journal/memory-journal.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../redis-server.ts";
import { runFacts } from "./run-facts.ts";

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  if (!hasRedis) return;
  server = await startRedisServer();
  redis = new Redis(server.url);
});
afterAll(async () => {
  if (!hasRedis) return;
  redis.disconnect();
  await server.remove();
});

const TEXT = "the code of a workflow";
const digest = createHash("sha256").update(TEXT).digest("hex");
const entry = { namespace: "shop", workflow: "order", digest };

/** Contents with the times of their last upload. */
function countedArchives(): DefinitionArchives & { readonly uploads: () => number } {
  let uploads = 0;
  return {
    read: (asked) =>
      asked === digest
        ? Promise.resolve(Buffer.from(TEXT))
        : Promise.reject(new Error(`no archive ${asked}`)),
    store: (content) => {
      expect(content.toString()).toBe(TEXT);
      uploads += 1;
      return Promise.resolve();
    },
    uploads: () => uploads,
  };
}

const named = (held: Workflow["status"]): Workflow => ({
  apiVersion: "fission.io/v1",
  kind: "Workflow",
  metadata: { name: "order", namespace: "shop" },
  spec: { package: { name: "order" } },
  ...(held === undefined ? {} : { status: held }),
});

describe.skipIf(!hasRedis)("definitions of runs whose Workflow is gone", () => {
  it("stay in the archive store as long as a run pins them, and no longer", async () => {
    const register = definitionRegister(() => redis);
    const archives = countedArchives();
    const journal = memoryJournal({ now: () => 0 });
    let workflows: Workflow[] = [named({ heldDefinitions: [digest] })];
    const keep = definitionKeeper({ register, archives, journal, workflows: () => workflows });
    await register.add(entry);
    const { record, history } = newRun(runFacts("one", null, { definition: digest }), undefined);
    await journal.create(record, history);

    expect(await keep()).toEqual([]);
    workflows = [];
    expect(await keep()).toEqual([entry]);
    expect(await keep()).toEqual([entry]);
    // Another Workflow of that name, made of something else, changes nothing.
    workflows = [named(undefined)];
    expect(await keep()).toEqual([entry]);
    expect(archives.uploads()).toBe(3);

    const claim = await journal.claim(record.facts.key, "worker", 1_000);
    if (claim.kind !== "claimed") throw new Error("the run is due");
    const ended = { ...claim.record, version: claim.record.version + 1, status: "terminated" as const };
    await journal.commit(claim.lease, {
      expectedVersion: claim.record.version,
      record: ended,
      history: [],
      taken: [],
      release: true,
      closedMaps: [],
    });
    expect(await keep()).toEqual([entry]);
    expect(await journal.remove(record.facts.key)).toBe(true);
    expect(await keep()).toEqual([]);
    expect(await register.list()).toEqual([entry]);
    expect(await keep()).toEqual([]);
    expect(await register.list()).toEqual([]);
  });

  it("are known before their run is stored, and known again after they were let go", async () => {
    let now = 0;
    const register = definitionRegister(
      () => redis,
      () => now,
    );
    await register.add(entry);
    expect(await register.list()).toEqual([entry]);
    await redis.del("{wf}:definitions");
    now = 60_000;
    await register.add(entry);
    expect(await register.list()).toEqual([entry]);
  });
});
