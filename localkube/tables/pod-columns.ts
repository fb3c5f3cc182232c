import { isPlainObject, type PlainObject, plainObjects, textOf } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { age } from "./age.ts";
import type { Column } from "./column.ts";

const statuses = (pod: KubeObject): PlainObject[] => plainObjects(pod.status?.containerStatuses);

const part = (value: unknown, key: string): PlainObject | undefined => {
  const found = isPlainObject(value) ? value[key] : undefined;
  return isPlainObject(found) ? found : undefined;
};

/** What the STATUS column says: the first container that has a reason speaks for the pod. */
export function podStatusText(pod: KubeObject): string {
  let text = textOf(pod.status?.reason ?? pod.status?.phase ?? "Unknown");
  let running = false;
  for (const status of statuses(pod).toReversed()) {
    const waiting = part(status.state, "waiting");
    const terminated = part(status.state, "terminated");
    if (typeof waiting?.reason === "string" && waiting.reason !== "") text = waiting.reason;
    else if (terminated) {
      if (typeof terminated.reason === "string" && terminated.reason !== "") text = terminated.reason;
      else if (terminated.signal) text = `Signal:${textOf(terminated.signal)}`;
      else text = `ExitCode:${textOf(terminated.exitCode)}`;
    } else if (status.ready === true && part(status.state, "running")) running = true;
  }
  if (text === "Completed" && running) text = "Running";
  if (pod.metadata.deletionTimestamp) return pod.status?.reason === "NodeLost" ? "Unknown" : "Terminating";
  return text;
}

function restarts(pod: KubeObject, nowMs: number): string {
  let total = 0;
  let last: string | undefined;
  for (const status of statuses(pod)) {
    if (typeof status.restartCount === "number") total += status.restartCount;
    const finished = part(status.lastState, "terminated")?.finishedAt;
    if (typeof finished === "string" && (last === undefined || finished > last)) last = finished;
  }
  return total > 0 && last !== undefined ? `${total} (${age(last, nowMs)} ago)` : textOf(total);
}

/** The columns of pods, around the name and the age that all kinds share. */
export function podColumns(before: Column[], middle: Column[]): Column[] {
  const plain = (name: string, cell: Column["cell"], priority = 0): Column => ({
    name,
    type: "string",
    priority,
    cell,
  });
  return [
    ...before,
    plain("Ready", (pod) => {
      const total = plainObjects(pod.spec?.containers).length;
      return `${statuses(pod).filter((status) => status.ready === true).length}/${total}`;
    }),
    plain("Status", podStatusText),
    plain("Restarts", restarts),
    ...middle,
    plain("IP", (pod) => textOf(pod.status?.podIP ?? "<none>"), 1),
    plain("Node", (pod) => textOf(pod.spec?.nodeName ?? "<none>"), 1),
    plain("Nominated Node", (pod) => textOf(pod.status?.nominatedNodeName ?? "<none>"), 1),
    plain("Readiness Gates", () => "<none>", 1),
  ];
}
