import type { Store } from "../store/store.ts";
import { errorText, isRefusal } from "./error-text.ts";
import { kubeTime } from "./pod.ts";

/** What an event is about. */
interface EventSubject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; uid: string; resourceVersion?: string };
}

interface EventNote {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
  /** For example `spec.containers{web}`. */
  fieldPath?: string;
}

/** Writes Events; the same note about the same object raises the count of the one that is there. Never throws. */
export interface EventRecorder {
  record(subject: EventSubject, note: EventNote): void;
  /** Resolves when what was recorded so far is written. */
  flush(): Promise<void>;
}

/** How many notes are remembered for counting repetitions. */
const REMEMBERED = 1000;

interface Remembered {
  namespace: string;
  name: string;
  count: number;
}

export function makeEventRecorder(
  store: Pick<Store, "create" | "patch">,
  component: string,
  log: (message: string) => void,
): EventRecorder {
  const remembered = new Map<string, Remembered>();
  let last: Promise<void> = Promise.resolve();
  let serial = 0;

  const write = async (subject: EventSubject, note: EventNote, at: string): Promise<void> => {
    const key = JSON.stringify([subject.metadata.uid, note]);
    const known = remembered.get(key);
    const namespace = subject.metadata.namespace ?? "default";
    if (known) {
      remembered.delete(key);
      known.count += 1;
      const updated = await store
        .patch("events", known.namespace, known.name, { count: known.count, lastTimestamp: at })
        .catch(() => undefined);
      if (updated) {
        remembered.set(key, known);
        return;
      }
    }
    serial += 1;
    const name = `${subject.metadata.name}.${Date.now().toString(16)}${serial.toString(16).padStart(4, "0")}`;
    await store.create("events", {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name, namespace },
      involvedObject: {
        apiVersion: subject.apiVersion,
        kind: subject.kind,
        name: subject.metadata.name,
        namespace: subject.metadata.namespace ?? "",
        uid: subject.metadata.uid,
        ...(subject.metadata.resourceVersion ? { resourceVersion: subject.metadata.resourceVersion } : {}),
        ...(note.fieldPath !== undefined ? { fieldPath: note.fieldPath } : {}),
      },
      type: note.type,
      reason: note.reason,
      message: note.message,
      count: 1,
      firstTimestamp: at,
      lastTimestamp: at,
      source: { component, host: "local" },
      reportingComponent: component,
      reportingInstance: "local",
    });
    remembered.set(key, { namespace, name, count: 1 });
    const oldest = remembered.keys().next().value;
    if (remembered.size > REMEMBERED && oldest !== undefined) remembered.delete(oldest);
  };

  return {
    record(subject, note) {
      const at = kubeTime(Date.now());
      last = last
        .then(() => write(subject, note, at))
        .catch((error: unknown) => {
          // A namespace that is being removed takes no events.
          if (isRefusal(error, 403, 404)) return;
          log(
            `event ${note.reason} of ${subject.kind} "${subject.metadata.name}" was not written: ${errorText(error)}`,
          );
        });
    },
    flush: () => last,
  };
}
