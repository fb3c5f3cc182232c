import { Readable } from "node:stream";
import { expect, it } from "vitest";
import type { Release } from "../../api/wire/releases.ts";
import type { CliContext } from "../context.ts";
import { watchRelease } from "./watch-release.ts";

const side = (name: string): Release["old"] => ({
  name,
  function: "hello",
  uid: "u",
  revision: "r",
  weight: 50,
  requests: 0,
  errors: 0,
  clientErrors: 0,
  perSecond: 0,
  seconds: [],
});
const decision = (second: number): Release["decisions"][number] => ({
  at: `2026-05-04T10:00:0${second}Z`,
  action: "weight",
  weight: second,
  sentence: `sentence ${second}`,
});
const state = (phase: Release["phase"], decisions: number[]): Release => ({
  namespace: "default",
  name: "hello",
  mode: "alias",
  trigger: "hello",
  phase,
  status: "pending",
  dryRun: false,
  applied: true,
  step: 0,
  steps: [],
  old: side("hello-v1"),
  new: side("hello-v2"),
  sentence: "",
  decisions: decisions.map(decision),
});

/** A terminal or a pipe, and an operations API that tells these states one after the other. */
async function watched(states: Release[], interactive: boolean): Promise<string> {
  let text = "";
  const queue = [...states];
  const call = async () => {
    const body = JSON.stringify({ releases: [queue.shift()] });
    return {
      status: 200,
      headers: {},
      body: Object.assign(Readable.from([]), { json: async () => JSON.parse(body) }),
    };
  };
  const context = {
    env: { COLUMNS: "80" },
    interactive,
    signal: new AbortController().signal,
    namespace: async () => "default",
    out: (written: string) => (text += written),
    ops: async () => ({ call }),
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the far side: nothing else of it is used
  await watchRelease(context as unknown as CliContext, "hello", 1);
  return text;
}

it("tells a pipe each decision once, also when old ones are dropped", async () => {
  const text = await watched(
    [state("progressing", [1, 2]), state("progressing", [1, 2]), state("failed", [2, 3])],
    false,
  );
  expect(text.split("\n").map((line) => line.split("  ").at(-1))).toEqual([
    "sentence 1",
    "sentence 2",
    "sentence 3",
    "",
  ]);
});

it("draws over what it has drawn on a terminal", async () => {
  const [first, second, ...more] = (
    await watched([state("warming", []), state("succeeded", [])], true)
  ).split(/\u001b\[\d+A\u001b\[J/);
  expect(first).toContain("warming");
  expect(second).toContain("succeeded");
  expect(more).toEqual([]);
});

it("goes on until the traffic goes where it was decided", async () => {
  const decided = { ...state("succeeded", [1]), applied: false };
  const text = await watched([state("progressing", []), decided, state("succeeded", [1, 2])], false);
  expect(text).toContain("sentence 2");
});
