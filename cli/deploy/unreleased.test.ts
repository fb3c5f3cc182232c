import { expect, it } from "vitest";
import { ANNOTATION_UNRELEASED } from "../../api/names.ts";
import { withoutMark } from "./unreleased.ts";

it("takes the mark off and leaves what others have written meanwhile", () => {
  const annotations = { [ANNOTATION_UNRELEASED]: "true", "isotope.dev/sticky": "client" };
  expect(withoutMark({ metadata: { name: "live", annotations } })).toEqual({
    metadata: { name: "live", annotations: { "isotope.dev/sticky": "client" } },
  });
  expect(withoutMark({ metadata: { name: "live" } })).toEqual({
    metadata: { name: "live", annotations: {} },
  });
});
