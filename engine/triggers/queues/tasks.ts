/**
 * What this replica does for each MessageQueueTrigger that there is.
 *
 * Invariants
 * T1. One thing at a time is done for a trigger; what fails is its own affair.
 * T2. What runs for a trigger ends when it is deleted, also what was about to begin.
 */
import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import type { Informer } from "../../../kube/informer.ts";
import { keyOf } from "../../../kube/object.ts";
import type { Log } from "../../../net/log.ts";
import { newTask, type Task } from "./trigger-task.ts";

export interface Tasks {
  /** Those of all triggers, with the trigger as it is now. */
  list(): readonly Task[];
  get(uid: string): Task | undefined;
  /** Does something for a trigger once what was begun before is over. Never rejects. */
  see(task: Task, act: () => Promise<void>): Promise<void>;
}

export interface TasksDeps {
  readonly informer: Pick<Informer<MessageQueueTrigger>, "list" | "subscribe">;
  readonly log: Log;
  /** A trigger is new, or is written otherwise than before. */
  readonly onNews: () => void;
  /** A trigger is gone: what runs for it is to end. */
  readonly onGone: (task: Task | undefined, uid: string) => void;
}

export function createTasks({ informer, log, onNews, onGone }: TasksDeps): Tasks {
  const tasks = new Map<string, Task>();
  const attend = async (task: Task, act: () => Promise<void>, before: Promise<void> | undefined) => {
    await before;
    await act().catch((error: unknown) =>
      log.warn("Cannot attend to a trigger", { trigger: keyOf(task.object), error }),
    );
  };
  informer.subscribe({
    onAdd: onNews,
    onUpdate: ({ metadata: { uid = "", generation } }, previous) => {
      if (generation === previous.metadata.generation) return;
      const task = tasks.get(uid);
      if (task) task.changedAt = Date.now();
      onNews();
    },
    onDelete: ({ metadata: { uid = "" } }) => {
      const task = tasks.get(uid);
      tasks.delete(uid);
      onGone(task, uid);
    },
  });
  return {
    list: () =>
      informer
        .list()
        .filter(({ metadata }) => !metadata.deletionTimestamp && metadata.uid)
        .map((object) => {
          const uid = object.metadata.uid ?? "";
          const task = tasks.get(uid) ?? newTask(object);
          task.object = object;
          tasks.set(uid, task);
          return task;
        }),
    get: (uid) => tasks.get(uid),
    see: async (task, act) => {
      const current = attend(task, act, task.current);
      task.current = current;
      await current;
      if (task.current === current) task.current = undefined;
    },
  };
}
