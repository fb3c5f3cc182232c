import { expect, test } from "vitest";
import type { KubeObject } from "../store/kube-object.ts";
import { checkRules, compileRules } from "./cel-rules.ts";
import { CEL_CASES, CEL_REFUSED, schemaWith } from "./cel-cases.ts";

const objectWith = (spec: object): KubeObject => ({
  apiVersion: "x/v1",
  kind: "X",
  metadata: { name: "x", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec: { ...spec },
});

test.each(CEL_CASES)("%s on %j is %s", (rule, spec, holds) => {
  expect(checkRules(schemaWith(rule), objectWith(spec), undefined).length === 0).toBe(holds);
});

test("transition rules need an old value, unless it is optional", () => {
  const fixed = schemaWith("self.count == oldSelf.count", { message: "fixed" });
  expect(checkRules(fixed, objectWith({ count: 1 }), undefined)).toEqual([]);
  expect(checkRules(fixed, objectWith({ count: 1 }), objectWith({ count: 1 }))).toEqual([]);
  expect(checkRules(fixed, objectWith({ count: 2 }), objectWith({ count: 1 }))[0]).toMatchObject({
    field: "spec",
    message: 'Invalid value: "object": fixed',
  });
  const optional = schemaWith("!oldSelf.hasValue() || oldSelf.value().count <= self.count", {
    optionalOldSelf: true,
  });
  expect(checkRules(optional, objectWith({ count: 1 }), undefined)).toEqual([]);
  expect(checkRules(optional, objectWith({ count: 0 }), objectWith({ count: 1 })).length).toBe(1);
});

test("a message is made, or the fixed one stands in", () => {
  const made = schemaWith("self.count > 9", {
    message: "fixed",
    messageExpression: "'count is ' + string(self.count)",
  });
  expect(checkRules(made, objectWith({ count: 1 }), undefined)[0]?.message).toContain("count is 1");
  const failing = schemaWith("self.count > 9", { message: "fixed", messageExpression: "self.missing" });
  expect(checkRules(failing, objectWith({ count: 1 }), undefined)[0]?.message).toContain("fixed");
});

test.each(CEL_REFUSED)("%s does not compile", (rule) => {
  expect(() => compileRules({ type: "object", "x-kubernetes-validations": [{ rule }] })).toThrow();
});
