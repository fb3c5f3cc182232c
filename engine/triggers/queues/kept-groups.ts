/**
 * What brokers keep for triggers (consumer groups), so that nothing stays behind of one that is deleted or changed: a group that nobody reads would hold
 * on to every message of a built-in topic.
 *
 * Invariants
 * G1. What a consumer will leave at its broker is written down before the consumer begins.
 * G2. It is forgotten only if the API server says, at that moment, that no trigger needs it, and while nobody consumes it.
 * G3. What cannot be forgotten is tried again with each sweep, a bounded number of times; one broker never holds up another.
 */
import { z } from "zod";
import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import type { KubeClient } from "../../../kube/client.ts";
import { MESSAGE_QUEUE_TRIGGERS } from "../../../kube/kinds.ts";
import type { Log } from "../../../net/log.ts";
import type { RedisClient } from "../../../net/redis-client.ts";
import { typeOf } from "./check-trigger.ts";
import { readSecret } from "./read-secret.ts";
import type { Source } from "./source.ts";

export interface KeptGroups {
  /**
   * To be called before a trigger is consumed. Gives the time from which on its messages are its own, in milliseconds since 1970: when it was created, or
   * when it was changed to what it takes now. Rejects when Redis does not answer.
   * @param changedAt when its latest change was seen
   */
  note(trigger: MessageQueueTrigger, changedAt: number | undefined): Promise<number>;
  /**
   * Forgets what no trigger needs any more. Resolves when it is known what that is.
   * @param consumedHere whether this replica consumes the trigger with this uid as the API server has it
   */
  sweep(consumedHere: (uid: string) => boolean): Promise<void>;
}

export interface KeptGroupsDeps {
  readonly client: Pick<KubeClient, "find">;
  readonly redis: () => RedisClient;
  readonly sources: ReadonlyMap<string, Source>;
  /** Whether no replica consumes a trigger. */
  readonly isFree: (uid: string) => Promise<boolean>;
  readonly log: Log;
}

/** uid, a line break, and what the source calls it → `Note`. */
const KEPT = "{ev:mqt}:kept";
/** Triggers that were consumed before, by uid. */
const SEEN = "{ev:mqt}:seen";
const MOST_TRIES = 20;

const Note = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  type: z.string(),
  topic: z.string(),
  metadata: z.record(z.string(), z.string()),
  secret: z.string().optional(),
  since: z.number(),
});
type Note = z.infer<typeof Note>;

const noteOf = (trigger: MessageQueueTrigger, since = 0): Note => ({
  namespace: trigger.metadata.namespace ?? "default",
  name: trigger.metadata.name,
  uid: trigger.metadata.uid ?? "",
  type: typeOf(trigger),
  topic: trigger.spec.topic,
  metadata: trigger.spec.metadata ?? {},
  ...(trigger.spec.secret ? { secret: trigger.spec.secret } : {}),
  since,
});

export function keptGroups(deps: KeptGroupsDeps): KeptGroups {
  const { redis, sources } = deps;
  const busy = new Set<string>();
  const failures = new Map<string, number>();

  /** What a note is kept under; undefined = its source leaves nothing behind, or its settings are none. */
  const fieldOf = (note: Note): string | undefined => {
    const source = sources.get(note.type);
    const config = source?.config.safeParse(note.metadata);
    if (!source?.forget || !config?.success) return undefined;
    return `${note.uid}\n${note.type} ${source.kept?.({ ...note, config: config.data }) ?? ""}`;
  };
  const stateOf = async (field: string, note: Note, consumedHere: boolean) => {
    const { namespace, name, uid } = note;
    const live = await deps.client.find(MESSAGE_QUEUE_TRIGGERS, { namespace, name });
    if (live?.metadata.uid !== uid) return (await deps.isFree(uid)) ? "deleted" : "needed";
    // Of one that has changed: once this replica consumes it as it is now.
    return consumedHere && fieldOf(noteOf(live)) !== field ? "changed" : "needed";
  };
  const forget = async (note: Note): Promise<void> => {
    const source = sources.get(note.type);
    const { namespace, uid, topic } = note;
    const secret = note.secret === undefined ? {} : await readSecret(deps.client, namespace, note.secret);
    await source?.forget?.({ config: source.config.parse(note.metadata), namespace, uid, topic, secret });
  };
  const settle = async (field: string, note: Note, consumedHere: boolean): Promise<void> => {
    const trigger = `${note.namespace}/${note.name}`;
    try {
      const state = await stateOf(field, note, consumedHere);
      if (state === "needed") return;
      await forget(note);
      await redis().hdel(KEPT, field);
      if (state === "deleted") await redis().srem(SEEN, note.uid);
      failures.delete(field);
    } catch (error) {
      const tries = (failures.get(field) ?? 0) + 1;
      failures.set(field, tries);
      deps.log.debug("Cannot forget what a broker keeps for a trigger", { trigger, tries, error });
      if (tries < MOST_TRIES) return;
      deps.log.info("A consumer group of a trigger that is gone may be left at its broker", {
        trigger,
        error,
      });
      await redis()
        .hdel(KEPT, field)
        .then(() => failures.delete(field))
        .catch(() => undefined);
    }
  };

  return {
    note: async (trigger, changedAt) => {
      const { uid = "", creationTimestamp } = trigger.metadata;
      const created = creationTimestamp === undefined ? undefined : Date.parse(creationTimestamp);
      const isSeen = (await redis().sismember(SEEN, uid)) === 1;
      const note = noteOf(trigger, (isSeen ? changedAt : created) ?? Date.now());
      const field = fieldOf(note);
      if (field === undefined) return note.since;
      await redis().hsetnx(KEPT, field, JSON.stringify(note));
      await redis().sadd(SEEN, uid);
      return Note.safeParse(parsed((await redis().hget(KEPT, field)) ?? "")).data?.since ?? note.since;
    },
    sweep: async (consumedHere) => {
      for (const [field, text] of Object.entries(await redis().hgetall(KEPT))) {
        const note = Note.safeParse(parsed(text)).data;
        if (!note || busy.has(field)) continue;
        busy.add(field);
        void settle(field, note, consumedHere(note.uid)).finally(() => busy.delete(field));
      }
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
