import type { RedisClient } from "../../net/redis-client.ts";

/** What runs were ever made of, until nothing needs it any more: how definitions are found whose Workflow is gone. */
export interface DefinitionRegister {
  /** Resolves once it is stored: before the run is. */
  add(entry: RegisteredDefinition): Promise<void>;
  list(): Promise<readonly RegisteredDefinition[]>;
  remove(entry: RegisteredDefinition): Promise<void>;
}

export interface RegisteredDefinition {
  readonly namespace: string;
  readonly workflow: string;
  readonly digest: string;
}

const KEY = "{wf}:definitions";
/** Far shorter than what lies between the two looks that an entry must be found useless at (`keep-definitions.ts`). */
const FRESH_MS = 60_000;

/** @param client gives the connected client, or throws `redis_unavailable` */
export function definitionRegister(
  client: () => RedisClient,
  now: () => number = () => performance.now(),
): DefinitionRegister {
  const added = new Map<string, number>();
  return {
    add: async (entry) => {
      const member = memberOf(entry);
      if (now() - (added.get(member) ?? -FRESH_MS) < FRESH_MS) return;
      await client().sadd(KEY, member);
      added.set(member, now());
    },
    list: async () => (await client().smembers(KEY)).map(entryOf),
    remove: async (entry) => {
      added.delete(memberOf(entry));
      await client().srem(KEY, memberOf(entry));
    },
  };
}

const memberOf = ({ namespace, workflow, digest }: RegisteredDefinition): string =>
  `${namespace}/${workflow}/${digest}`;

function entryOf(member: string): RegisteredDefinition {
  const [namespace = "", workflow = "", digest = ""] = member.split("/");
  return { namespace, workflow, digest };
}
