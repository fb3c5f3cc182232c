import { describe, expect, test } from "vitest";
import { planObject, type PlannedObject } from "./plan.ts";
import { takenOver } from "./taken-over.ts";

const object = (name: string, deployment: string | undefined): PlannedObject["object"] => ({
  metadata: { name, labels: deployment === undefined ? {} : { "isotope.dev/deployment": deployment } },
  spec: {},
});
const planned = (kind: string, name: string, live?: string | false): PlannedObject =>
  planObject(kind, object(name, "shop"), live === undefined ? undefined : object(name, live || undefined));
const linesOf = (...actions: PlannedObject[]): string[] =>
  takenOver({ functions: [], workflows: [{ actions }] } as never);

describe("what another deployment made", () => {
  test("is named before it is replaced, packages apart", () => {
    expect(
      linesOf(planned("Package", "workflow-order", "examples"), planned("Workflow", "order", "examples")),
    ).toEqual([
      'workflow/order was deployed from "examples" and is replaced by what is here, until "examples" is deployed again; other names, or a namespace of its own (-n), keep both',
    ]);
    const many = ["a", "b", "c", "d", "e"].map((name) => planned("Function", name, "examples"));
    expect(linesOf(...many)).toEqual([
      expect.stringMatching(/^function\/a, .*function\/d and 1 more were deployed/),
    ]);
    expect(linesOf(planned("Function", "a", "one"), planned("Function", "b", "two"))).toHaveLength(2);
  });

  test("is nothing where objects are new, this deployment's own, or nobody's", () => {
    expect(
      linesOf(planned("Function", "a"), planned("Function", "b", "shop"), planned("Function", "c", false)),
    ).toEqual([]);
  });
});
