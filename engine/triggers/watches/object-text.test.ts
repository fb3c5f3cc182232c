import { expect, test } from "vitest";
import { objectText } from "./object-text.ts";

test("tells of a pod without the token that commands it", () => {
  const pod = (...token: object[]) => ({
    kind: "Pod",
    spec: { containers: [{ name: "runtime", env: [{ name: "PLAIN", value: "text" }, ...token] }] },
  });
  const told: unknown = JSON.parse(objectText(pod({ name: "ISOTOPE_POD_TOKEN", value: "5dcf5bd2" })));
  expect(told).toEqual(pod({ name: "ISOTOPE_POD_TOKEN" }));
});
