import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { convertScxml, NotDone } from "./convert-scxml.ts";
import { type DurableExecutor, durableExecutor } from "./durable-executor.ts";

/*
 * The 169 SCXML cases that XState enables for itself, through the durable executor: a JSON round trip and a crash of the worker at every commit.
 */

interface Case {
  readonly group: string;
  readonly name: string;
  readonly scxml: string;
  readonly initialConfiguration: readonly string[];
  readonly events: readonly {
    readonly after?: number;
    readonly event: { readonly name: string };
    readonly nextConfiguration: readonly string[];
  }[];
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a fixture
const cases = JSON.parse(
  readFileSync(new URL("fixtures/cases.json", import.meta.url), "utf8"),
) as readonly Case[];
/** What this engine does not do, by design; everything else passes. */
const NOT_DONE = [187, 191, 192, 201, 232, 347, 453].map((number) => `w3c-ecma/test${number}`);
const TO_THE_END_MS = 60_000;
let passed = 0;
let crashes = 0;
const others: string[] = [];

async function configuration(executor: DurableExecutor): Promise<string[]> {
  const { states, error } = await executor.run();
  if (error) throw new Error(`${error.type}: ${error.message}`);
  return states.map((path) => path.split(".").at(-1) ?? path).sort();
}
const expected = (ids: readonly string[]): string[] => ids.map((id) => id.replaceAll(".", "$")).sort();

async function runCase(it: Case): Promise<void> {
  const executor = await durableExecutor(convertScxml(it.scxml));
  try {
    // The W3C's own cases say by their last state whether they passed.
    if (it.group === "w3c-ecma") {
      await executor.pass(TO_THE_END_MS);
      expect(await configuration(executor)).toEqual(["pass"]);
      return;
    }
    await executor.settle();
    expect(await configuration(executor)).toEqual(expected(it.initialConfiguration));
    for (const { after, event, nextConfiguration } of it.events) {
      if (after !== undefined) await executor.pass(after);
      await executor.send(event.name);
      expect(await configuration(executor), `after ${event.name}`).toEqual(expected(nextConfiguration));
    }
  } finally {
    crashes += executor.crashes();
  }
}

describe("SCXML through the durable executor", () => {
  it.each(cases.map((one) => ({ title: `${one.group}/${one.name}`, one })))(
    "$title",
    async ({ title, one }) => {
      try {
        await runCase(one);
        expect(NOT_DONE).not.toContain(title);
        passed += 1;
      } catch (error) {
        if (!(error instanceof NotDone) || !NOT_DONE.includes(title)) throw error;
        others.push(`${title}: ${error.message}`);
      }
    },
  );
});

afterAll(() => {
  console.log(
    [`SCXML: ${passed} of ${cases.length} pass, ${crashes} crashes; the others:`, ...others].join("\n  "),
  );
});
