import { textOf } from "../schema/plain-object.ts";
import { type ApiCore, internalWrite } from "../api/api-core.ts";
import { deleteObject } from "../api/delete-object.ts";

const LIFE_MS = 3600_000;
const SWEEP_MS = 60_000;
const MOST_EVENTS = 20_000;

/** Removes events after an hour, and the oldest when there are too many; returns the function that stops it. */
export function startEventExpiry(core: ApiCore): () => void {
  const timer = setInterval(() => expireEvents(core), SWEEP_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** One sweep. */
export function expireEvents(core: ApiCore): void {
  const definition = core.registry.stored("events");
  if (!definition) return;
  const events = [...core.table.list("events")].sort((a, b) => a.rv - b.rv);
  const surplus = events.length - MOST_EVENTS;
  const expiredBefore = core.nowMs() - LIFE_MS;
  events.forEach(({ object }, index) => {
    const seen = object.lastTimestamp ?? object.eventTime ?? object.metadata.creationTimestamp;
    if (index >= surplus && Date.parse(textOf(seen)) > expiredBefore) return;
    const { namespace, name } = object.metadata;
    deleteObject(core, { definition, namespace, name }, {}, internalWrite("localkube-gc"));
  });
}
