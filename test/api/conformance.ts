import { customCases } from "./custom-cases.ts";
import { deletionCases } from "./deletion-cases.ts";
import { discoveryCases } from "./discovery-cases.ts";
import { kindCases } from "./kind-cases.ts";
import { listWatchCases } from "./list-watch-cases.ts";
import { objectCases } from "./object-cases.ts";
import { patchCases } from "./patch-cases.ts";
import type { Target } from "./suite.ts";

/**
 * What clients of this project may expect of an API server, as tests. `connect` is called once the tests run.
 * Touches nothing but namespaces and definitions of its own.
 */
export function apiConformance(connect: () => Target): void {
  discoveryCases(connect);
  objectCases(connect);
  listWatchCases(connect);
  patchCases(connect);
  kindCases(connect);
  customCases(connect);
  deletionCases(connect);
}
