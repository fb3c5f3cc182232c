import { expect, it } from "vitest";
import type { FunctionReference, HTTPTrigger } from "../../api/kinds/index.ts";
import { pinnedRoutes } from "./pinned-routes.ts";

const route = (name: string, functionref: FunctionReference): HTTPTrigger => ({
  apiVersion: "fission.io/v1",
  kind: "HTTPTrigger",
  metadata: { name },
  spec: { functionref },
});

it("routes that lead to versions are told when their function changes, others are not", () => {
  const said = pinnedRoutes(
    [
      route("plain", { type: "name", name: "price" }),
      route("live", { type: "name", name: "price", alias: "price-live" }),
      route("old", { type: "name", name: "price", version: "price-v1" }),
      route("other", { type: "name", name: "cart", alias: "cart-live" }),
    ],
    "price",
  );
  expect(said).toEqual([
    'Route "live" leads to alias "price-live" and stays there: `isotope fn publish price` and `isotope alias update price-live --version <version>` change that',
    'Route "old" leads to version "price-v1" and stays there: `isotope fn publish price` and `isotope route update old --function-version <version>` change that',
  ]);
});
