import type { FastifyInstance } from "fastify";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import {
  type OpsComponent,
  type OpsProblem,
  type OpsStatus,
  type PodList,
  PodQuery,
} from "../../api/wire/ops.ts";
import type { KubeClient } from "../../kube/client.ts";
import { findCondition } from "../../kube/conditions.ts";
import type { PlatformObject } from "../../kube/kinds.ts";
import type { PodBook } from "../pods.ts";
import type { World } from "../world.ts";
import { parseQuery } from "./parse-query.ts";

export interface StatusSources {
  readonly version: string;
  readonly startedAt: Date;
  readonly client: Pick<KubeClient, "request" | "server">;
  readonly world: Pick<World, "functions" | "environments" | "packages" | "triggers">;
  readonly pods: Pick<PodBook, "list" | "synced" | "hasSynced">;
  readonly components: () => Promise<z.infer<typeof OpsComponent>[]>;
  readonly archiveUse: () => Promise<{ count: number; bytes: number }>;
}

const MAX_PROBLEMS = 100;
/** How long a call waits for the first list of pods; a control plane that just started needs some milliseconds. */
const PODS_WAIT_MS = 5_000;
const Version = z.object({ gitVersion: z.string() });

/** `GET /v1/status` and `GET /v1/pods`. */
export function statusRoutes(app: FastifyInstance, sources: StatusSources): void {
  app.get("/v1/status", (): Promise<OpsStatus> => statusOf(sources));
  app.get("/v1/pods", async (request): Promise<PodList> => {
    const query = parseQuery("list pods", PodQuery, request.query);
    await Promise.race([sources.pods.synced, delay(PODS_WAIT_MS, undefined, { ref: false })]);
    if (!sources.pods.hasSynced())
      throw new PlatformError(
        "kubernetes_unavailable",
        "Cannot list pods: the Kubernetes API has not listed them yet",
      );
    const wanted = Object.entries(query);
    const pods = sources.pods
      .list()
      .filter((pod) =>
        wanted.every(([name, value]) => value === undefined || Reflect.get(pod, name) === value),
      )
      .sort((a, b) => (a.namespace + a.name < b.namespace + b.name ? -1 : 1));
    return { pods };
  });
}

async function statusOf(sources: StatusSources): Promise<OpsStatus> {
  const { client, world, pods, startedAt, version } = sources;
  const [components, archives, kubernetes] = await Promise.all([
    sources.components(),
    sources.archiveUse(),
    kubernetesVersion(client),
  ]);
  const functions = world.functions.list();
  return {
    version,
    startedAt: startedAt.toISOString(),
    kubernetes: { server: client.server, version: kubernetes },
    components,
    counts: {
      functions: functions.length,
      functionsReady: functions.filter(
        (fn) => findCondition(fn.status?.conditions, "Ready")?.status === "True",
      ).length,
      environments: world.environments.size,
      packages: world.packages.size,
      httpTriggers: world.triggers.size,
      pods: countBy(pods.list().map(({ state, component, phase }) => state || component || phase)),
      archives: archives.count,
      archiveBytes: archives.bytes,
    },
    problems: problemsOf([
      ["Function", functions],
      ["Environment", world.environments.list()],
      ["Package", world.packages.list()],
      ["HTTPTrigger", world.triggers.list()],
    ]),
  };
}

async function kubernetesVersion(client: Pick<KubeClient, "request">): Promise<string> {
  try {
    return Version.parse(
      await client.request({ method: "GET", path: "/version", signal: AbortSignal.timeout(2_000) }),
    ).gitVersion;
  } catch {
    return "";
  }
}

function countBy(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

function problemsOf(
  kinds: readonly (readonly [string, readonly PlatformObject[]])[],
): z.infer<typeof OpsProblem>[] {
  const problems = kinds.flatMap(([kind, objects]) =>
    objects.flatMap(({ metadata, status }) => {
      const ready = findCondition(status?.conditions, "Ready");
      if (ready?.status !== "False") return [];
      const { reason, message, lastTransitionTime: since } = ready;
      return [{ kind, namespace: metadata.namespace ?? "", name: metadata.name, reason, message, since }];
    }),
  );
  return problems.sort((a, b) => (a.since > b.since ? -1 : 1)).slice(0, MAX_PROBLEMS);
}
