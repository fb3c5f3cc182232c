import { describe, expect, it } from "vitest";
import { z } from "zod";
import { customResourceDefinition, structuralSchema } from "./crd.ts";
import { KINDS } from "./kinds/index.ts";

describe("structuralSchema", () => {
  it.each([
    ["a union", z.object({ a: z.union([z.string().max(1), z.int().min(0).max(1)]) }), /x\.a .*union/],
    ["an unbounded string", z.object({ a: z.string() }), /x\.a is a string without maxLength/],
    ["an unbounded list", z.object({ a: z.array(z.boolean()) }), /x\.a is an array without maxItems/],
  ])("refuses %s and names the place", (_name, schema, message) => {
    expect(() => structuralSchema(schema, "x")).toThrow(message);
  });

  it("leaves a node for any JSON value untyped", () => {
    const run = KINDS.find((kind) => kind.kind === "WorkflowRun");
    const node = structuralSchema(run?.spec ?? z.object({}), "spec");
    expect(node.properties?.input).toEqual({
      description: "Input of the run",
      "x-kubernetes-preserve-unknown-fields": true,
    });
  });
});

describe("customResourceDefinition", () => {
  it.each(KINDS.map((kind) => [kind.kind, kind] as const))(
    "%s has columns, a status where it should, and bounds everywhere",
    (_name, kind) => {
      const crd = customResourceDefinition(kind) as {
        spec: { versions: { subresources?: unknown; additionalPrinterColumns: { name: string }[] }[] };
      };
      const version = crd.spec.versions[0];
      expect(version?.subresources !== undefined).toBe(kind.status !== undefined);
      const names = version?.additionalPrinterColumns.map((column) => column.name) ?? [];
      expect(names.at(-1)).toBe("Age");
      expect(names.includes("Ready")).toBe(kind.status !== undefined);
    },
  );
});
