import { expect, it } from "vitest";
import type { Workflow } from "../../api/kinds/index.ts";
import { runFacts } from "../../test/workflows/run-facts.ts";
import { newRun } from "../core/new-run.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import { releaseDefinitions } from "./release-definitions.ts";

const digest = (letter: string): string => letter.repeat(64);

it("lets go of what no run pins, and of nothing else", async () => {
  const journal = memoryJournal({ now: () => 0 });
  for (const [id, definition] of [
    ["one", digest("a")],
    ["two", digest("c")],
  ] as const) {
    const { record, history } = newRun({ ...runFacts(id), workflow: "order", definition }, undefined);
    await journal.create(record, history);
  }
  const workflow: Workflow = {
    apiVersion: "fission.io/v1",
    kind: "Workflow",
    metadata: { name: "order", namespace: runFacts("one").key.namespace, resourceVersion: "7" },
    spec: { package: { name: "order" } },
    status: { heldDefinitions: [digest("a"), digest("b")] },
  };
  const patches: unknown[] = [];
  const client = {
    patchStatus: (_type: unknown, ref: object, patch: unknown, options: unknown) => {
      patches.push([ref, patch, options]);
      return Promise.resolve(workflow as never);
    },
  };
  expect(await releaseDefinitions({ journal, client, workflows: () => [workflow] })).toEqual([digest("b")]);
  expect(patches).toEqual([
    [workflow.metadata, { heldDefinitions: [digest("a")] }, { resourceVersion: "7" }],
  ]);
});
