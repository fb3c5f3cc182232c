import { assert, array, property, string, uniqueArray } from "fast-check";
import { expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { ownerOf } from "../../engine/executor/ownership.ts";
import { createShardedExecutor, type ShardedExecutor } from "../../engine/executor/sharded-executor.ts";
import {
  acquireRequest,
  environmentObject,
  type FarSide,
  functionObject,
  servingOf,
  SILENT,
} from "./far-side.ts";
import {
  codeOf,
  endpointsOf,
  farSide,
  makeExecutor,
  type Outcome,
  outcomeOf,
  pass,
  type RunningExecutor,
  useSimulatedTime,
} from "./world.ts";

useSimulatedTime();

const ENVIRONMENTS = 8;

/** Executors that know each other; each has a function `fn-<n>` per environment to serve. */
class Group {
  readonly far: FarSide;
  readonly shards = new Map<
    string,
    { readonly shard: ShardedExecutor; readonly running: RunningExecutor[] }
  >();
  constructor() {
    this.far = farSide();
    for (let index = 0; index < ENVIRONMENTS; index += 1) {
      this.far.addEnvironment(environmentObject(`env-${index}`, { poolsize: 1 }));
      const environment = { name: `env-${index}`, uid: "u", image: "i", version: 3 };
      this.far.addFunction(
        functionObject(`fn-${index}`, servingOf("r1", { concurrency: 2 }, { environment })),
      );
    }
  }
  add(name: string): void {
    const running: RunningExecutor[] = [];
    const shard = createShardedExecutor({
      self: name,
      handoverMs: 500,
      log: SILENT,
      create: (owns) => {
        const made = makeExecutor(this.far, {}, undefined, owns);
        running.push(made);
        return made.executor;
      },
      forward: (member, request, signal) =>
        this.shards.get(member)?.shard.acquire(request, true, signal) ??
        Promise.reject(new PlatformError("executor_unavailable")),
      forwardWarm: (member, request, signal) =>
        this.shards.get(member)?.shard.warm(request, true, signal) ??
        Promise.reject(new PlatformError("executor_unavailable")),
      forwardSuspect: (member, report) => this.shards.get(member)?.shard.suspect(report, true),
      forwardLoad: (member, report) => this.shards.get(member)?.shard.load(report, true),
    });
    this.shards.set(name, { shard, running });
    this.tell();
  }
  /** As kill -9: nothing of it does anything more; the others notice when its Lease has run out. */
  async kill(name: string): Promise<void> {
    for (const { kill } of this.shards.get(name)?.running ?? []) kill();
    this.shards.delete(name);
    await pass(15_000);
    this.tell();
  }
  tell(): void {
    const names = [...this.shards.keys()].sort();
    for (const { shard } of this.shards.values()) shard.membersChanged(names);
  }
  call(member: string, index: number, known: string[] = []) {
    const shard = this.shards.get(member)?.shard;
    if (!shard) throw new Error(`no member ${member}`);
    return outcomeOf(shard.acquire(acquireRequest(`fn-${index}`, "r1", { known }), false));
  }
  async stop(): Promise<void> {
    const stopping = Promise.all([...this.shards.values()].map(({ shard }) => shard.stop()));
    await pass(3_000);
    await stopping;
  }
}

const uidsOf = (outcomes: readonly Outcome[]): string[] =>
  outcomes.map((outcome) => endpointsOf(outcome)[0]?.podUid ?? "").sort();

test("two executors share the environments; a call to either reaches the one that minds the function", async () => {
  const group = new Group();
  group.add("a");
  group.add("b");
  await pass(2_000);
  const pools = [...group.shards.values()].map(({ shard }) => shard.snapshot()?.pools.length ?? 0);
  expect(pools.reduce((sum, count) => sum + count, 0)).toBe(ENVIRONMENTS);
  expect(Math.min(...pools)).toBeGreaterThan(0);
  expect(group.far.living).toHaveLength(ENVIRONMENTS);
  const calls = Promise.all(Array.from({ length: ENVIRONMENTS }, (_, index) => group.call("a", index)));
  await pass(500);
  expect((await calls).map(codeOf)).toEqual(Array(ENVIRONMENTS).fill("ok"));
  const again = Promise.all(Array.from({ length: ENVIRONMENTS }, (_, index) => group.call("b", index)));
  await pass(100);
  expect(uidsOf(await again)).toEqual(uidsOf(await calls));
  expect(group.far.specialised()).toHaveLength(ENVIRONMENTS);
  await group.stop();
});

test("an executor that dies or joins loses no warm pod, and calls meanwhile wait for the new owner", async () => {
  const group = new Group();
  group.add("a");
  group.add("b");
  await pass(2_000);
  const calls = Promise.all(Array.from({ length: ENVIRONMENTS }, (_, index) => group.call("a", index)));
  await pass(500);
  await calls;
  const warm = group.far
    .specialised()
    .map(({ uid }) => uid)
    .sort();

  await group.kill("b");
  const during = Promise.all(Array.from({ length: ENVIRONMENTS }, (_, index) => group.call("a", index)));
  await pass(3_000);
  expect(uidsOf(await during)).toEqual(warm);
  expect(
    group.far
      .specialised()
      .map(({ uid }) => uid)
      .sort(),
  ).toEqual(warm);
  expect(group.shards.get("a")?.shard.snapshot()?.pools).toHaveLength(ENVIRONMENTS);

  group.add("c");
  const joining = Promise.all(
    Array.from({ length: ENVIRONMENTS }, (_, index) => group.call(index % 2 ? "a" : "c", index)),
  );
  await pass(4_000);
  expect(uidsOf(await joining)).toEqual(warm);
  expect(
    group.far
      .specialised()
      .map(({ uid }) => uid)
      .sort(),
  ).toEqual(warm);
  expect(group.far.published()).toEqual(warm);
  expect(group.far.history.every((pod) => pod.specialisations <= 1)).toBe(true);
  await group.stop();
});

test("a member that goes moves only its own keys", () => {
  assert(
    property(
      uniqueArray(string({ minLength: 1 }), { minLength: 2, maxLength: 6 }),
      array(string()),
      (members, keys) => {
        const [gone, ...left] = members;
        for (const key of keys) {
          const before = ownerOf(key, members);
          if (before !== gone) expect(ownerOf(key, left)).toBe(before);
        }
      },
    ),
  );
});
