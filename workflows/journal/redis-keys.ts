import type { RunKey, RunStatus } from "../core/run-record.ts";
import { partitionOf } from "./partition.ts";

/**
 * Where everything lies in Redis. The tag `{wf:<partition>}` puts all keys of a partition into one slot, so that one script may touch a run, its timers and
 * its index on Redis Cluster too. Stored runs are found by these names: they never change.
 */
export const ENDED: readonly Exclude<RunStatus, "running">[] = [
  "succeeded",
  "failed",
  "cancelled",
  "timed-out",
  "terminated",
];
export const STATUSES: readonly RunStatus[] = ["running", ...ENDED];

/** `<namespace>/<id>`: how sorted sets name a run. */
export const memberOf = (key: RunKey): string => `${key.namespace}/${key.id}`;
export function keyOfMember(member: string): RunKey {
  const slash = member.indexOf("/");
  return { namespace: member.slice(0, slash), id: member.slice(slash + 1) };
}

export const dueKey = (partition: number): string => `{wf:${partition}}:due`;
/** Runs that have ended, by when. */
export const endedKey = (partition: number): string => `{wf:${partition}}:ended`;
/** Ids of a namespace's runs of one status, by their start. */
export const indexKey = (
  partition: number,
  namespace: string,
  workflow: string | undefined,
  status: RunStatus,
): string => `{wf:${partition}}:list:${namespace}${workflow === undefined ? "" : `/${workflow}`}:${status}`;

export interface RunKeys {
  readonly run: string;
  readonly facts: string;
  readonly state: string;
  readonly history: string;
  readonly inbox: string;
  readonly seen: string;
  /** Names of the run's large payloads. */
  readonly payloads: string;
  readonly due: string;
  readonly ended: string;
  readonly partition: number;
  readonly member: string;
}

export function runKeys(key: RunKey): RunKeys {
  const partition = partitionOf(key);
  const member = memberOf(key);
  const of = (what: string): string => `{wf:${partition}}:${what}:${member}`;
  return {
    run: of("run"),
    facts: of("facts"),
    state: of("state"),
    history: of("history"),
    inbox: of("inbox"),
    seen: of("seen"),
    payloads: of("payloads"),
    due: dueKey(partition),
    ended: endedKey(partition),
    partition,
    member,
  };
}

/** The same names as in `closeMap` of prelude.lua. */
export const mapKey = (key: RunKey, token: string, what: "items" | "results"): string =>
  `{wf:${partitionOf(key)}}:map:${memberOf(key)}:${token}:${what}`;

/** The same names as in prelude.lua. */
export const payloadKey = (key: RunKey, name: string): string =>
  `{wf:${partitionOf(key)}}:payload:${memberOf(key)}:${name}`;
