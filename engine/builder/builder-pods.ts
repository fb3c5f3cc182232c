import { setTimeout as sleep } from "node:timers/promises";
import type { Environment } from "../../api/kinds/index.ts";
import { FETCHER_IMAGE } from "../../api/direct-image.ts";
import { ANNOTATION_HOST_PORT, FETCHER_PORT, LABEL_CONTRACT } from "../../api/names.ts";
import { BUILDER_PORT } from "../../api/wire/builder.ts";
import type { Log } from "../../net/log.ts";
import { podTokens } from "../../net/pod-token.ts";
import type { BuilderCluster, BuilderPodView } from "./builder-cluster.ts";
import { builderPodLabels, builderPodManifest, builderPodTemplate, LABEL_TEMPLATE } from "./builder-pod.ts";

/*
 * The builder pods, one per Environment. Invariants:
 * 1. Callers that want an Environment's pod at the same time share one search and one creation.
 * 2. A pod is used only if it was made from the Environment's present template and its token derives from a key that we hold.
 * 3. Pods of the Environment that are not used any more (another template, given up, spare) are deleted by their UID.
 */

export interface ReadyBuilder {
  readonly pod: BuilderPodView;
  readonly origin: string;
  /** Tokens of the pod, by our keys, newest first. */
  readonly tokens: readonly string[];
}

/** Why there is no builder pod, for users. */
export class NoBuilderPod extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NoBuilderPod";
  }
}

export interface BuilderPods {
  /** The Environment's pod once it is ready. Throws `NoBuilderPod`. */
  ready(environment: Environment, onLog: (line: string) => void): Promise<ReadyBuilder>;
  /** Says that a build for which `ready` gave the pod is over. */
  done(pod: BuilderPodView): void;
  /** Never uses this pod again. */
  giveUp(pod: BuilderPodView): Promise<void>;
  /** Deletes pods that no build has used for `idleMs`. */
  reapIdle(idleMs: number): Promise<void>;
}

export interface BuilderPodsOptions {
  readonly cluster: BuilderCluster;
  /** Master keys, newest first. */
  readonly masters: () => readonly Uint8Array[];
  readonly log: Log;
  /** Image of the fetcher, for builder pods of foreign images; default FETCHER_IMAGE. */
  readonly fetcherImage?: string;
  readonly readyTimeoutMs: number;
  readonly pollMs?: number;
  /** How long a system may be in trouble over an image before a build is failed over it; default 5,000. */
  readonly imagePatienceMs?: number;
}

const IMAGE_PATIENCE_MS = 5_000;
const IMAGE_TROUBLE = /^(?:ErrImage|ImagePull|InvalidImage|CreateContainer|RunContainer)/;

export function builderPods(options: BuilderPodsOptions): BuilderPods {
  const { cluster, log, fetcherImage = FETCHER_IMAGE } = options;
  const searches = new Map<string, Promise<ReadyBuilder>>();
  const used = new Map<string, { pod: BuilderPodView; atMs: number; builds: number }>();

  const find = async (environment: Environment, onLog: (line: string) => void): Promise<ReadyBuilder> => {
    const template = builderPodTemplate(environment, fetcherImage);
    const namespace = environment.metadata.namespace ?? "default";
    const present = (await cluster.listPods(namespace, builderPodLabels(environment))).filter(
      (pod) => !pod.ending,
    );
    const usable = present.filter((pod) => pod.labels[LABEL_TEMPLATE] === template.hash && !isOver(pod));
    usable.sort((a, b) => Number(b.ready) - Number(a.ready) || a.name.localeCompare(b.name));
    const [chosen] = usable;
    for (const pod of present) {
      if (pod !== chosen) await cluster.deletePod(namespace, pod.name, pod.uid);
    }
    const pod = chosen ?? (await create(environment, template));
    const ready = await untilReady(pod, onLog);
    return ready;
  };

  const create = async (
    environment: Environment,
    template: ReturnType<typeof builderPodTemplate>,
  ): Promise<BuilderPodView> => {
    const [master] = options.masters();
    if (!master) throw new RangeError("Cannot make a builder pod: the key ring is empty");
    const pod = await cluster.createPod(builderPodManifest(environment, template, master));
    log.info("made a builder pod", { namespace: pod.namespace, pod: pod.name });
    return pod;
  };

  const untilReady = async (first: BuilderPodView, onLog: (line: string) => void): Promise<ReadyBuilder> => {
    const deadline = performance.now() + options.readyTimeoutMs;
    let pod: BuilderPodView | undefined = first;
    let troubleSince: number | undefined;
    if (!first.ready) onLog(`waiting for builder pod ${first.name}`);
    for (;;) {
      if (!pod || pod.ending || isOver(pod))
        throw new NoBuilderPod(`Builder pod "${first.name}" went away before it was ready`);
      const origin = originOf(pod);
      if (pod.ready && origin !== undefined) return { pod, origin, tokens: tokensOf(pod) };
      const now = performance.now();
      const trouble = pod.waiting && IMAGE_TROUBLE.test(pod.waiting.reason) ? pod.waiting : undefined;
      troubleSince = trouble ? (troubleSince ?? now) : undefined;
      if (
        now > deadline ||
        (troubleSince !== undefined && now - troubleSince > (options.imagePatienceMs ?? IMAGE_PATIENCE_MS))
      ) {
        await giveUp(pod);
        throw new NoBuilderPod(notReady(pod, options.readyTimeoutMs));
      }
      await sleep(options.pollMs ?? 50);
      pod = await cluster.getPod(pod.namespace, pod.name);
    }
  };

  const tokensOf = (pod: BuilderPodView): string[] => podTokens(options.masters(), pod.namespace, pod.name);

  const giveUp = async (pod: BuilderPodView): Promise<void> => {
    used.delete(pod.uid);
    await cluster.deletePod(pod.namespace, pod.name, pod.uid);
  };

  return {
    ready: async (environment, onLog) => {
      const key = `${environment.metadata.uid}/${builderPodTemplate(environment, fetcherImage).hash}`;
      let search = searches.get(key);
      if (!search) {
        search = find(environment, onLog).finally(() => searches.delete(key));
        searches.set(key, search);
      }
      const ready = await search;
      const builds = (used.get(ready.pod.uid)?.builds ?? 0) + 1;
      used.set(ready.pod.uid, { pod: ready.pod, atMs: performance.now(), builds });
      return ready;
    },
    done: (pod) => {
      const use = used.get(pod.uid);
      if (use) used.set(pod.uid, { pod, atMs: performance.now(), builds: use.builds - 1 });
    },
    giveUp,
    reapIdle: async (idleMs) => {
      const now = performance.now();
      for (const { pod, atMs, builds } of used.values()) {
        if (builds > 0 || now - atMs < idleMs) continue;
        await giveUp(pod);
        log.info("deleted an idle builder pod", { namespace: pod.namespace, pod: pod.name });
      }
    },
  };
}

const isOver = (pod: BuilderPodView): boolean => pod.phase === "Failed" || pod.phase === "Succeeded";

function originOf(pod: BuilderPodView): string | undefined {
  if (pod.ip === undefined || pod.ip === "") return undefined;
  const ownPort = pod.labels[LABEL_CONTRACT] === "sidecar" ? FETCHER_PORT : BUILDER_PORT;
  const port = pod.annotations[ANNOTATION_HOST_PORT] ?? String(ownPort);
  return `http://${pod.ip.includes(":") ? `[${pod.ip}]` : pod.ip}:${port}`;
}

function notReady(pod: BuilderPodView, timeoutMs: number): string {
  const why = pod.waiting ? `${pod.waiting.reason}: ${pod.waiting.message}` : `it is ${pod.phase}, not ready`;
  return `Builder pod "${pod.name}" did not become ready within ${timeoutMs} ms: ${why}`;
}
