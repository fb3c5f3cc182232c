import { LABEL_DEPLOYMENT } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import {
  FUNCTIONS,
  HTTP_TRIGGERS,
  KUBERNETES_WATCH_TRIGGERS,
  MESSAGE_QUEUE_TRIGGERS,
  PACKAGES,
  TIME_TRIGGERS,
  WORKFLOWS,
} from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import type { FunctionObjects } from "./desired-objects.ts";
import type { LiveFunction, LiveWorkflow } from "./progress.ts";
import type { WorkflowObjects } from "./workflow-objects.ts";

export type LiveObject = KubeObject & { spec?: unknown };

/** Kinds that a deployment writes, in the order in which they are created; deletion goes the other way. */
export const DEPLOYED_TYPES: readonly ResourceType<LiveObject>[] = [
  PACKAGES,
  FUNCTIONS,
  WORKFLOWS,
  HTTP_TRIGGERS,
  TIME_TRIGGERS,
  KUBERNETES_WATCH_TRIGGERS,
  MESSAGE_QUEUE_TRIGGERS,
];

/** The deployed kinds of one namespace, kept current. */
export interface LiveObjects {
  find(kind: string, name: string): LiveObject | undefined;
  /** What carries the project's label, in the order of DEPLOYED_TYPES. */
  owned(deployment: string): { kind: string; object: LiveObject }[];
  /** The live counterparts of one function's objects. */
  functionOf(objects: FunctionObjects): LiveFunction;
  /** Those of one workflow's. */
  workflowOf(objects: WorkflowObjects): LiveWorkflow;
  /** Calls back after each change; the returned function ends it. */
  onChange(listener: () => void): () => void;
  stop(): Promise<void>;
}

/** Starts watching and resolves when everything has been read once. */
export async function watchLive(kube: KubeClient, namespace: string): Promise<LiveObjects> {
  const watch = <T extends LiveObject>(type: ResourceType<T>): Informer<T> =>
    createInformer<T>({ client: kube, type, namespace });
  const packages = watch(PACKAGES);
  const functions = watch(FUNCTIONS);
  const workflows = watch(WORKFLOWS);
  const triggers = watch(HTTP_TRIGGERS);
  const timers = watch(TIME_TRIGGERS);
  const watches = watch(KUBERNETES_WATCH_TRIGGERS);
  const queues = watch(MESSAGE_QUEUE_TRIGGERS);
  const all: [string, Informer<never>][] = [
    ["Package", packages as Informer<never>],
    ["Function", functions as Informer<never>],
    ["Workflow", workflows as Informer<never>],
    ["HTTPTrigger", triggers as Informer<never>],
    ["TimeTrigger", timers as Informer<never>],
    ["KubernetesWatchTrigger", watches as Informer<never>],
    ["MessageQueueTrigger", queues as Informer<never>],
  ];
  // One cheap call first: it fails with a clear error where informers would retry for ever.
  await kube.list(PACKAGES, { namespace, limit: 1 });
  for (const [, informer] of all) informer.start();
  await Promise.all(all.map(([, informer]) => informer.synced));
  const key = (name: string): string => `${namespace}/${name}`;
  return {
    find: (kind, name) => all.find(([candidate]) => candidate === kind)?.[1].get(key(name)),
    owned: (deployment) =>
      all.flatMap(([kind, informer]) =>
        informer
          .list()
          .filter((object: LiveObject) => object.metadata.labels?.[LABEL_DEPLOYMENT] === deployment)
          .map((object) => ({ kind, object })),
      ),
    functionOf: (objects) => ({
      package: packages.get(key(objects.package.metadata.name)),
      function: functions.get(key(objects.function.metadata.name)),
      triggers: objects.triggers.map((trigger) => triggers.get(key(trigger.metadata.name))),
    }),
    workflowOf: (objects) => ({
      package: packages.get(key(objects.package.metadata.name)),
      workflow: workflows.get(key(objects.workflow.metadata.name)),
      triggers: objects.triggers.map((trigger) => triggers.get(key(trigger.metadata.name))),
    }),
    onChange: (listener) => {
      const ends = all.map(([, informer]) => informer.subscribe({ onChange: listener }));
      return () => {
        for (const end of ends) end();
      };
    },
    stop: async () => {
      await Promise.all(all.map(([, informer]) => informer.stop()));
    },
  };
}
