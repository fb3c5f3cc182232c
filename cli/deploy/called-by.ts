import type { HTTPTrigger } from "../../api/kinds/index.ts";
import type { EventTrigger } from "./event-triggers.ts";

interface Triggers {
  readonly triggers: readonly HTTPTrigger[];
  readonly events?: readonly EventTrigger[];
}

/** What calls a function or workflow, for people: its addresses, then its timers, queues and watches. */
export const calledBy = ({ triggers, events = [] }: Triggers, routerUrl: string): string[] => [
  ...triggers.map(({ spec }) => `${routerUrl}${spec.relativeurl ?? spec.prefix ?? ""}`),
  ...events.map(({ spec }) => {
    if ("cron" in spec) return `timer "${spec.cron}"`;
    return "topic" in spec ? `queue "${spec.topic}"` : `watch of ${spec.kind ?? spec.type ?? "objects"}`;
  }),
];
