import { createHash } from "node:crypto";
import type { Cluster, KubeEnvironment } from "./cluster.ts";
import { type Deployed, replicasOf } from "./deployed.ts";
import {
  autoscalerManifest,
  deployedTemplate,
  deploymentMaker,
  deploymentManifest,
  serviceManifest,
} from "./deployment-manifest.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Revision } from "./revision.ts";
import { createTimers } from "./timers.ts";

/** Writes Deployments with their Service and HorizontalPodAutoscaler; it keeps invariant 1 of `deployments.ts`. */
export interface DeploymentWriter {
  readonly touch: (deployed: Deployed) => void;
  /** Writes may begin: what exists is known. */
  readonly open: () => void;
  /** Resolves when nothing is left to write, or after a while; undefined when nothing is. */
  readonly written: (deployed: Deployed) => Promise<void> | undefined;
  readonly settled: () => Promise<void>;
  readonly close: () => void;
}

export interface DeploymentWriterOptions {
  readonly cluster: Pick<
    Cluster,
    | "applyDeployment"
    | "scaleDeployment"
    | "deleteDeployment"
    | "applyService"
    | "applyAutoscaler"
    | "annotatePod"
  >;
  readonly log: ExecutorLog;
  readonly tokensOf: (namespace: string, name: string) => readonly string[];
  readonly environment: (revision: Revision) => KubeEnvironment | undefined;
  /** Called before a write; for tests of crashes. */
  readonly beforeWrite?: (write: DeploymentWrite) => void;
  /** Whether it must not be written yet; it is touched again when it may. */
  readonly mustWait: (deployed: Deployed) => boolean;
  readonly onTrouble: (deployed: Deployed, message: string) => void;
}

export type DeploymentWrite = "deployment" | "deployment-scale";

const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
const RETIRED_COST = "-1000";
const RETRY_MS = { first: 200, most: 10_000 };
/** A deletion waits no longer than that for writes that fail. */
const DELETE_WAIT_MS = 5_000;

interface State {
  readonly options: DeploymentWriterOptions;
  readonly later: (delayMs: number, run: () => void) => void;
  readonly busy: Set<Deployed>;
  readonly early: Set<Deployed>;
  opened: boolean;
  closed: boolean;
}

export function createDeploymentWriter(options: DeploymentWriterOptions): DeploymentWriter {
  const timers = createTimers();
  const state: State = {
    options,
    later: timers.later,
    busy: new Set(),
    early: new Set(),
    opened: false,
    closed: false,
  };
  return {
    touch: (deployed) => touch(state, deployed),
    open: () => {
      state.opened = true;
      for (const deployed of state.early) touch(state, deployed);
      state.early.clear();
    },
    written: (deployed) => {
      if (state.closed || !(deployed.busy || deployed.dirty)) return undefined;
      return new Promise((resolve) => {
        deployed.waiting.push(resolve);
        state.later(DELETE_WAIT_MS, resolve);
      });
    },
    settled: async () => {
      await Promise.all(
        [...state.busy].map(({ waiting }) => new Promise<void>((resolve) => waiting.push(resolve))),
      );
    },
    close: () => {
      state.closed = true;
      timers.close();
      for (const { waiting } of state.busy) for (const resolve of waiting.splice(0)) resolve();
    },
  };
}

function touch(state: State, deployed: Deployed): void {
  if (state.closed) return;
  deployed.dirty = true;
  if (!state.opened) {
    state.early.add(deployed);
    return;
  }
  if (deployed.busy) return;
  deployed.busy = true;
  state.busy.add(deployed);
  state.later(0, () => void run(state, deployed));
}

async function run(state: State, deployed: Deployed): Promise<void> {
  const { log, onTrouble } = state.options;
  let delayMs = RETRY_MS.first;
  while (deployed.dirty) {
    if (state.closed) break;
    deployed.dirty = false;
    try {
      await write(state, deployed);
      delayMs = RETRY_MS.first;
    } catch (error) {
      if (state.closed) break;
      deployed.dirty = true;
      log.warn("cannot write Deployment, trying again", { deployment: deployed.name, error });
      onTrouble(deployed, error instanceof Error ? error.message : String(error));
      const pauseMs = delayMs;
      await new Promise<void>((resolve) => state.later(pauseMs, resolve));
      delayMs = Math.min(delayMs * 2, RETRY_MS.most);
    }
  }
  deployed.busy = false;
  state.busy.delete(deployed);
  for (const resolve of deployed.waiting.splice(0)) resolve();
}

async function write(state: State, deployed: Deployed): Promise<void> {
  const { cluster } = state.options;
  if (deployed.removed) {
    if (deployed.replicas !== undefined) await cluster.deleteDeployment(deployed.namespace, deployed.name);
    deployed.replicas = undefined;
    return;
  }
  if (deployed.replicas === undefined && replicasOf(deployed) === 0) return;
  if (state.options.mustWait(deployed)) return;
  const { serving } = deployed.revision;
  const environment =
    serving.executorType === "container" ? undefined : state.options.environment(deployed.revision);
  if (serving.executorType !== "container" && !environment) return;
  await writeTemplate(state, deployed, environment);
  await writeReplicas(state, deployed);
  await writeScale(state, deployed);
}

async function writeTemplate(
  { options }: State,
  deployed: Deployed,
  environment: KubeEnvironment | undefined,
): Promise<void> {
  const template = deployedTemplate(deployed.revision.serving, environment);
  const [token = ""] = options.tokensOf(deployed.namespace, deploymentMaker(deployed.name));
  const replicas = replicasOf(deployed);
  const manifest = deploymentManifest(deployed, template, environment, replicas, token);
  const fingerprint = createHash("sha256").update(JSON.stringify(manifest.spec.template)).digest("hex");
  if (deployed.replicas !== undefined && deployed.writtenTemplate === fingerprint) return;
  options.beforeWrite?.("deployment");
  const written = await options.cluster.applyDeployment(manifest);
  deployed.generation = Math.max(deployed.generation, written.generation);
  deployed.replicas = written.replicas;
  deployed.writtenTemplate = fingerprint;
}

async function writeReplicas({ options }: State, deployed: Deployed): Promise<void> {
  const { namespace, name } = deployed;
  for (const pod of deployed.retiring) {
    await options.cluster.annotatePod(pod.namespace, pod.name, { [DELETION_COST]: RETIRED_COST });
    deployed.retiring.delete(pod);
  }
  const { wanted } = deployed;
  if (wanted !== undefined && wanted !== deployed.replicas) {
    options.beforeWrite?.("deployment-scale");
    const generation = await options.cluster.scaleDeployment(namespace, name, wanted);
    deployed.generation = Math.max(deployed.generation, generation);
    deployed.replicas = wanted;
  }
  // A wish that is fulfilled is over: whoever else scales it from now on is not turned back.
  if (deployed.wanted === wanted) deployed.wanted = undefined;
}

async function writeScale({ options }: State, deployed: Deployed): Promise<void> {
  const { scale, needed } = deployed;
  const least = Math.max(scale.minPods, needed);
  const autoscaler = autoscalerManifest(deployed, scale, least);
  const service = serviceManifest(deployed);
  const fingerprint = JSON.stringify([autoscaler.spec, service.spec]);
  if (fingerprint === deployed.writtenScale) return;
  await options.cluster.applyService(service);
  await options.cluster.applyAutoscaler(autoscaler);
  deployed.writtenScale = fingerprint;
}
