import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { archiveUrl } from "../../api/archive-url.ts";
import { KINDS } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { isInvalid } from "../../kube/kube-error.ts";
import { type PlatformObject, platformType } from "../../kube/kinds.ts";
import type { ResourceType } from "../../kube/resource.ts";
import { CliError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { uploadArchive } from "../deploy/upload.ts";
import { packArchive } from "./pack-archive.ts";
import type { Specs } from "./read-specs.ts";

/** Marks what an application owns, as the reference system does. */
export const UID_ANNOTATION = "fission-uid";
export const NAME_ANNOTATION = "fission-name";

export interface SpecAction {
  action: "create" | "update" | "unchanged" | "delete";
  type: ResourceType<PlatformObject>;
  object: PlatformObject;
  /** `file:line` of what is to be written. */
  place?: string;
}

const TYPES = KINDS.filter(({ scope }) => scope === "Namespaced").map((kind) => platformType(kind));
/** What others need comes first. */
const ORDER = ["Environment", "Package", "Function"];
const rank = (kind: string): number => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);

/** Objects of an application, by its uid, in a namespace or in all. */
export async function ownedObjects(
  kube: KubeClient,
  uid: string,
  namespace: string | undefined,
): Promise<{ type: ResourceType<PlatformObject>; object: PlatformObject }[]> {
  const lists = await Promise.all(
    TYPES.map(async (type) =>
      (await kube.list(type, { namespace })).items.map((object) => ({ type, object })),
    ),
  );
  return lists.flat().filter(({ object }) => object.metadata.annotations?.[UID_ANNOTATION] === uid);
}

/** Uploads the archives and puts their addresses into the packages that name them. */
async function resolveArchives(specs: Specs, context: CliContext, dryRun: boolean): Promise<void> {
  const digests = new Map<string, string>();
  for (const archive of specs.archives) {
    const bytes = await packArchive(archive, dirname(specs.folder));
    digests.set(archive.name, dryRun ? "" : await uploadArchive(await context.ops(), bytes));
  }
  for (const { object } of specs.objects) {
    if (object.kind !== "Package") continue;
    for (const field of ["source", "deployment"]) {
      const archive = object.spec[field];
      if (typeof archive !== "object" || archive === null) continue;
      const url: unknown = Reflect.get(archive, "url");
      const name = typeof url === "string" ? /^archive:\/\/(.+)$/.exec(url)?.[1] : undefined;
      const digest = name === undefined ? undefined : digests.get(name);
      if (digest)
        object.spec[field] = {
          type: "url",
          url: archiveUrl(digest),
          checksum: { type: "sha256", sum: digest },
        };
    }
  }
}

/** What applying the specs would do. Archives are uploaded unless it is a dry run. */
export async function planSpecs(
  specs: Specs,
  context: CliContext,
  options: { namespace: string; forceNamespace: boolean; dryRun: boolean; allowConflicts: boolean },
): Promise<SpecAction[]> {
  const kube = await context.kube();
  await resolveArchives(specs, context, options.dryRun);
  const owned = await ownedObjects(kube, specs.deployment.uid, undefined);
  const actions: SpecAction[] = [];
  const wanted = new Set<string>();
  for (const { object, place } of specs.objects.toSorted(
    (a, b) => rank(a.object.kind) - rank(b.object.kind),
  )) {
    const type = TYPES.find((candidate) => candidate.kind === object.kind);
    if (!type) throw new CliError(`Cannot apply kind ${object.kind}: it has no namespace`);
    const namespace = options.forceNamespace
      ? options.namespace
      : (object.metadata.namespace ?? options.namespace);
    wanted.add(`${object.kind}/${namespace}/${object.metadata.name}`);
    const annotations = {
      ...object.metadata.annotations,
      [UID_ANNOTATION]: specs.deployment.uid,
      [NAME_ANNOTATION]: specs.deployment.name,
    };
    const marked = { ...object, metadata: { ...object.metadata, namespace, annotations } };
    const live = await kube.find(type, { namespace, name: object.metadata.name });
    if (!live) {
      actions.push({ action: "create", type, object: marked, place });
      continue;
    }
    const owner = live.metadata.annotations?.[UID_ANNOTATION];
    if (owner !== specs.deployment.uid && !options.allowConflicts) {
      throw new CliError(
        `Cannot apply ${object.kind} "${object.metadata.name}": it exists in namespace "${namespace}" and belongs to ${owner ? `another application (${live.metadata.annotations?.[NAME_ANNOTATION] ?? owner})` : "no application"}; --allowconflicts takes it over`,
      );
    }
    const liveSpec = live.spec as Record<string, unknown> | undefined;
    // A build writes the deployment archive into a package that has a source.
    const spec =
      object.kind === "Package" &&
      object.spec["source"] &&
      !object.spec["deployment"] &&
      liveSpec?.["deployment"]
        ? { ...object.spec, deployment: liveSpec["deployment"] }
        : object.spec;
    const same =
      isDeepStrictEqual(spec, live.spec) &&
      Object.entries(annotations).every(([key, value]) => live.metadata.annotations?.[key] === value);
    actions.push({
      action: same ? "unchanged" : "update",
      type,
      place,
      object: {
        ...live,
        metadata: { ...live.metadata, annotations: { ...live.metadata.annotations, ...annotations } },
        spec,
      },
    });
  }
  for (const { type, object } of owned) {
    if (!wanted.has(`${type.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}`))
      actions.push({ action: "delete", type, object });
  }
  return actions;
}

/** Asks the API whether it would take all of it, so that an application with one wrong object changes nothing. */
async function checkSpecs(kube: KubeClient, actions: readonly SpecAction[]): Promise<void> {
  await Promise.all(
    actions.map(async ({ action, type, object, place = "" }) => {
      try {
        if (action === "create") await kube.create(type, object, { dryRun: true });
        else if (action === "update") await kube.update(type, object, { dryRun: true });
      } catch (error) {
        if (!isInvalid(error)) throw error;
        throw new CliError(`Cannot apply ${place}: ${error.message}`, { cause: error });
      }
    }),
  );
}

/** Carries the plan out, if the API accepts all of it; deletions come last and only with `prune`. */
export async function applySpecs(
  kube: KubeClient,
  actions: readonly SpecAction[],
  prune: boolean,
): Promise<void> {
  await checkSpecs(kube, actions);
  for (const { action, type, object } of actions) {
    if (action === "create") await kube.create(type, object);
    else if (action === "update") await kube.update(type, object);
    else if (action === "delete" && prune)
      await kube.delete(type, { namespace: object.metadata.namespace, name: object.metadata.name });
  }
}
