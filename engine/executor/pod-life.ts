import type { Serving } from "../../api/kinds/serving.ts";
import type { KubeEnvironment } from "./cluster.ts";
import type { Content } from "./content.ts";
import { isDeploymentPod } from "./deployment-manifest.ts";
import type { Parts } from "./parts.ts";
import type { Pod } from "./pod.ts";
import { pinnedEnvironment } from "./pinned-environment.ts";
import { podTemplate } from "./pod-manifest.ts";
import { type FunctionIdentity, type Revision, type RevisionOptions, revisionKey } from "./revision.ts";
import { maxPodsOf } from "./scaling.ts";
import type { HostKind } from "./shared-pods.ts";
import { specializeRequest } from "./specialize-request.ts";
import { environmentKey } from "./workload.ts";

/** What happens to pods and revisions, told to the parts that it concerns. */

const HEALTH_TIMEOUT_MS = 1_000;
const SERVED = { cancel: () => undefined };

/** What a revision is made of. */
export function revisionOptions(parts: Parts, identity: FunctionIdentity, serving: Serving): RevisionOptions {
  const { contents, environments, fleet, options, metrics } = parts;
  const environment = environmentKey({ identity, serving });
  const key = revisionKey(identity.uid, serving.revision);
  return {
    serving,
    identity,
    log: options.log,
    attempts: options.settings.specializeAttempts,
    maxPods: () => maxPodsOf(parts, { key, serving }),
    content: () =>
      serving.executorType === "container"
        ? Promise.resolve(NO_CONTENT)
        : contents.read(key, identity.namespace, serving),
    take: (deliver, fail) => {
      if (parts.deployments.handles({ serving })) return parts.deployments.take(key, deliver, fail);
      const revision = parts.functions.revision(identity.uid, serving.revision);
      const wanted = revision && environmentOf(parts, revision);
      const kind = hostKind(wanted ?? environments.find(environment));
      if (kind) return parts.shared.take(environment, identity.uid, kind, deliver, fail);
      const spare = parts.workloads.spare(key);
      if (!spare) return environments.take(environment, key, deliver, fail, wanted);
      deliver(spare);
      return SERVED;
    },
    specialize: async (pod, content) => {
      if (pod.plain) return { kind: "done", loadMs: 0 };
      const request = specializeRequest(pod, identity, serving, content, options.settings.debug);
      if (!pod.calls) return { kind: "unreachable", message: "the pod has no address" };
      return pod.calls.specialize(request, content.archive, serving.limits.specializationTimeoutMs);
    },
    discard: (pod, reason, graceSeconds) => {
      if (pod.phase === "claimed") parts.workloads.scaledDown(pod);
      fleet.discard(pod, reason, graceSeconds);
    },
    stillGeneric: async (pod) => (await pod.calls?.health(HEALTH_TIMEOUT_MS))?.state === "generic",
    onChange: (revision, pod, joined) => {
      if (joined) podJoined(parts, revision, pod);
      parts.slices.touch(revision);
    },
    onOutcome: metrics.specialised,
  };
}

/** The environment that the revision's pods are made of. */
export function environmentOf(parts: Parts, revision: Revision): KubeEnvironment | undefined {
  const { environments, functions, options } = parts;
  const found = environments.find(environmentKey(revision));
  const ofVersion = functions.isNamed(revision) && !functions.isCurrent(revision);
  return found && ofVersion
    ? pinnedEnvironment(found, revision.serving, options.settings.fetcherImage)
    : found;
}

/** A container function brings what it needs in its pod. */
const NO_CONTENT: Content = {
  archive: new Uint8Array(),
  env: {},
  secretEnv: [],
  secrets: [],
  configMaps: [],
};

/** What the pods of an environment whose functions share them are; undefined where each has pods of its own. */
function hostKind(environment: KubeEnvironment | undefined): HostKind | undefined {
  return environment?.spec.sidecar?.shared === true
    ? { environment, template: podTemplate(environment).hash }
    : undefined;
}

function podJoined(parts: Parts, revision: Revision, pod: Pod): void {
  const { serving, watchdog, reaper, labels, rollover, workloads, deployments, autoScale } = parts;
  const deployed = deployments.handles(revision);
  serving.set(pod, revision);
  if (!pod.plain) watchdog.watch(revision, pod);
  if (!deployed) reaper.watch(revision, pod);
  if (deployed) deployments.joined(revision, pod);
  if (workloads.handles(revision)) workloads.joined(revision, pod);
  else if (!pod.host && !pod.plain) labels.specialised(revision, pod);
  autoScale.joined(pod);
  rollover.joined(revision, pod);
}

/** A pod left; `failed`: it ended by itself. */
export function podGone(parts: Parts, pod: Pod, reason: string, failed: boolean): void {
  const { metrics, options, watchdog, reaper, environments, serving, shared } = parts;
  const { workloads, deployments, rollover, fading } = parts;
  if (!pod.host) metrics.podGone(failed);
  if (failed) options.log.warn("pod ended", { pod: pod.name, namespace: pod.namespace, reason });
  watchdog.forget(pod);
  reaper.forget(pod);
  for (const pool of environments.pools(pod.environment)) pool.gone(pod, reason, failed);
  const revision = serving.get(pod);
  serving.delete(pod);
  revision?.gone(pod);
  workloads.gone(pod, failed);
  deployments.gone(pod);
  if (revision && revision.pods().size === 0 && fading.delete(revision)) rollover.superseded(revision, false);
  shared.hostGone(pod, reason, failed);
}

/** Pods of the pools serve whoever calls first; one that a ReplicaSet or a Deployment made is its revision's. */
export function podGeneric({ workloads, deployments, environments, fleet }: Parts, pod: Pod): void {
  if (pod.maker === "") for (const pool of environments.pools(pod.environment)) pool.ready(pod);
  else if (isDeploymentPod(pod)) deployments.ready(pod);
  else if (!workloads.ready(pod)) fleet.discard(pod, "its revision is not served any more", 0);
}

/** The API server says that the pod is ready; of a plain one, also that it is not. */
export function podReadiness({ workloads, serving }: Parts, pod: Pod): void {
  if (!pod.plain) return workloads.seenReady(pod);
  const revision = serving.get(pod);
  if (pod.ready) revision?.restore(pod);
  else revision?.withdraw(pod);
}

/** A pod cannot start for now. */
export function podTrouble(
  { deployments, environments }: Parts,
  pod: Pod,
  reason: string,
  message: string,
): void {
  if (isDeploymentPod(pod)) deployments.trouble(pod, reason, message);
  else for (const pool of environments.pools(pod.environment)) pool.trouble(pod, reason, message);
}

/** The Function serves the revision, perhaps with other numbers of pods than before. */
export function served(parts: Parts, revision: Revision, { scale }: Serving): void {
  const { scales, deployments, fading, functions } = parts;
  scales.set(revision.key, scale);
  fading.delete(revision);
  if (!scale || !deployments.handles(revision) || !parts.owns(environmentKey(revision))) return;
  if (functions.isCurrent(revision)) deployments.current(revision, scale);
  else deployments.named(revision, scale);
}

/** A version names the revision: it goes on, or begins, beside the one that the Function serves. */
export function named({ rollover }: Parts, revision: Revision): void {
  rollover.current(revision);
}

/** An alias stands for the revision: what it is made of is read ahead, no pod is started. */
export function needed(parts: Parts, revision: Revision): void {
  if (!parts.owns(environmentKey(revision)) || revision.serving.executorType === "container") return;
  parts.prefetcher.add(() =>
    parts.contents.read(revision.key, revision.identity.namespace, revision.serving),
  );
}

/** The revision is not served any more. A Deployment takes its pods away itself, once those of the next revision serve. */
export function superseded(parts: Parts, revision: Revision, deleted: boolean): void {
  const { deployments, functions, rollover, fading } = parts;
  const { uid, namespace, name } = revision.identity;
  const next = deleted ? undefined : functions.find(namespace, name)?.current;
  const rolls = deployments.handles(revision) && next !== undefined && deployments.handles(next);
  if (rolls && revision.pods().size > 0 && !deployments.isBeside(revision.key)) {
    fading.add(revision);
    return;
  }
  if (deleted && deployments.handles(revision)) deployments.remove(uid);
  rollover.superseded(revision, deleted);
}

/** Routers are told to send nothing to the revision any more, or may again. */
export function withdrawn(
  { slices, workloads, deployments, functions, rollover }: Parts,
  revision: Revision,
): void {
  slices.touch(revision);
  workloads.changed(revision);
  if (rollover.isWithdrawn(revision) && deployments.dropped(revision.key)) return;
  const { uid, namespace, name } = revision.identity;
  const current = functions.find(namespace, name)?.current;
  if (deployments.handles(revision) && current && !deployments.handles(current)) deployments.remove(uid);
}

/** Archive and settings of a served revision are read ahead; a revision that replaces a warm one is warm before its first call. */
export function becameCurrent(parts: Parts, revision: Revision, previous: Revision | undefined): void {
  const { rollover, prefetcher, contents, options, deployments } = parts;
  rollover.current(revision);
  if (!parts.owns(environmentKey(revision))) return;
  if (revision.serving.executorType === "container") return;
  prefetcher.add(() => contents.read(revision.key, revision.identity.namespace, revision.serving));
  if (deployments.handles(revision)) return;
  const { limits, scale } = revision.serving;
  const warm = Math.min(previous?.pods().size ?? 0, options.settings.prewarmPods);
  const least = Math.max(warm, scale?.minPods ?? 0);
  if (least > 0 && !limits.onceOnly) revision.warm(least);
}
