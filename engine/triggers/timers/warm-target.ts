import type { TimeTrigger } from "../../../api/kinds/index.ts";
import { aliasTargets } from "../../../api/releases/alias.ts";
import { WarmReply, type WarmRequest } from "../../../api/wire/executor.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import type { Log } from "../../../net/log.ts";
import type { SignedClient } from "../../../net/signed-client.ts";

export interface WarmDeps {
  readonly executor: Pick<SignedClient, "postJson">;
  readonly functions: Pick<FunctionWorld, "function" | "alias" | "version">;
  readonly log: Log;
}

const CALL_TIMEOUT_MS = 3_000;

type Revision = Pick<WarmRequest, "name" | "uid" | "revision">;

/** Asks the executor for a pod of what a timer will call in a moment. That there is none yet costs the call a cold start and nothing else. */
export function targetWarmer({ executor, functions, log }: WarmDeps): (timer: TimeTrigger) => void {
  return (timer) => {
    const namespace = timer.metadata.namespace ?? "default";
    for (const revision of revisionsOf(functions, namespace, timer.spec.functionref)) {
      const body: WarmRequest = { namespace, ...revision, pods: 1, waitMs: 0 };
      executor
        .postJson("/v2/warm", body, WarmReply, { timeoutMs: CALL_TIMEOUT_MS })
        .catch((error: unknown) =>
          log.debug("Cannot warm what a timer calls", { timer: timer.metadata.name, error }),
        );
    }
  };
}

/** What may be called: of a split, each function that has a share. Runs of workflows are nothing to warm. */
function revisionsOf(
  functions: WarmDeps["functions"],
  namespace: string,
  { type, name, alias, version, functionweights }: TimeTrigger["spec"]["functionref"],
): Revision[] {
  if (type === "workflow") return [];
  if (type === "function-weights")
    return Object.entries(functionweights ?? {}).flatMap(([each, weight]) =>
      weight > 0 ? functionRevision(functions, namespace, each) : [],
    );
  if (version) return versionRevision(functions, namespace, version);
  if (!alias) return functionRevision(functions, namespace, name);
  const found = functions.alias(namespace, alias);
  const ofFunction = (each: string) => functions.version(namespace, each)?.spec.functionName === name;
  if (!found) return [];
  return aliasTargets(found, ofFunction).flatMap((each) =>
    versionRevision(functions, namespace, each.version),
  );
}

function functionRevision(functions: WarmDeps["functions"], namespace: string, name: string): Revision[] {
  const fn = functions.function(namespace, name);
  const revision = fn?.status?.serving?.revision;
  return revision === undefined ? [] : [{ name, uid: fn?.metadata.uid ?? "", revision }];
}

function versionRevision(functions: WarmDeps["functions"], namespace: string, name: string): Revision[] {
  const version = functions.version(namespace, name);
  const revision = version?.status?.serving?.revision;
  if (!version || revision === undefined) return [];
  return [{ name: version.spec.functionName, uid: version.spec.functionUID, revision }];
}
