import type { Reconcile, Reconciler } from "../kube/reconcile.ts";
import type { ControllerContext } from "./context.ts";
import { aliasReconcile, watchAliases } from "./function-alias/reconcile.ts";
import { releaseReconcile, watchReleases } from "./function-version/auto-publish.ts";
import { versionReconcile, watchVersions } from "./function-version/reconcile.ts";
import type { Archives } from "./package/ports.ts";

/** The reconcilers of versions and aliases. `loop` makes one that works on at most so many keys at once. */
export function releaseLoops(
  context: ControllerContext,
  archives: Pick<Archives, "find">,
  loop: (name: string, reconcile: Reconcile, concurrency: number) => Reconciler,
): Reconciler[] {
  const { world } = context;
  const versions = loop("FunctionVersion", versionReconcile(context, archives), 4);
  const aliases = loop("FunctionAlias", aliasReconcile(context), 4);
  const releases = loop("Release", releaseReconcile(context), 2);
  watchVersions(world, versions.queue.add);
  watchAliases(world, aliases.queue.add);
  watchReleases(world, releases.queue.add);
  return [versions, aliases, releases];
}
