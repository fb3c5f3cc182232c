import {
  HEADER_FUNCTION_NAME,
  HEADER_FUNCTION_NAMESPACE,
  HEADER_FUNCTION_RESOURCE_VERSION,
  HEADER_FUNCTION_UID,
  HEADER_POD,
  HEADER_REFUSED,
  HEADER_REVISION,
  HEADER_TIMEOUT_MS,
} from "../../api/headers.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import type { Endpoint } from "./endpoint.ts";
import { flatText } from "./flat-text.ts";
import type { FunctionSlot } from "./function-table.ts";
import type { HeaderFilter, RelayPlan } from "./http/types.ts";
import type { RevisionStats } from "./router-metrics.ts";

/** Index of a relay plan: the bits say what kind of request it is for. */
export const PLAN_UPGRADE = 1;
export const PLAN_CORS = 2;
export const PLAN_INTERNAL = 4;

/** Everything about a serving revision that is the same for all its requests, made once. */
export interface ServingPlan {
  readonly slot: FunctionSlot;
  readonly streaming: boolean;
  /** Limit of one attempt, and of a WebSocket; 0 = none. */
  readonly deadlineMs: number;
  readonly tunnelDeadlineMs: number;
  readonly stats: RevisionStats;
  /** Header lines and relay plans for pods that speak the direct contract, and for those of the reference system's. */
  readonly directLines: string;
  readonly directTunnelLines: string;
  readonly referenceLines: string;
  readonly directPlans: readonly RelayPlan[];
  readonly referencePlans: readonly RelayPlan[];
}

export interface PlanSettings {
  readonly connectTimeoutMs: number;
  readonly tunnelIdleMs: number;
  readonly requestFilter: HeaderFilter;
  /** The same for signed callers. */
  readonly internalRequestFilter: HeaderFilter;
  readonly responseFilter: HeaderFilter;
  /** Also strips what only the trigger's corsConfig may say. */
  readonly corsResponseFilter: HeaderFilter;
}

/** How long a client may read nothing of an answer before it is cut off, where no streaming setting says otherwise. */
const CLIENT_STALL_MS = 60_000;

export function servingPlan(
  slot: FunctionSlot,
  serving: Serving,
  stats: RevisionStats,
  settings: PlanSettings,
): ServingPlan {
  const { limits } = serving;
  const functionLines =
    `${HEADER_FUNCTION_UID}: ${slot.uid ?? ""}\r\n` +
    `${HEADER_FUNCTION_NAME}: ${slot.name}\r\n` +
    `${HEADER_FUNCTION_NAMESPACE}: ${slot.namespace}\r\n` +
    `${HEADER_FUNCTION_RESOURCE_VERSION}: ${slot.resourceVersion}\r\n`;
  const { streaming } = limits;
  const deadlineMs = streaming ? streaming.maxDurationMs : limits.timeoutMs;
  const tunnelDeadlineMs = streaming ? streaming.maxDurationMs : 0;
  const directLines = `${functionLines}${HEADER_REVISION}: ${serving.revision}\r\n`;
  return {
    slot,
    streaming: streaming !== undefined,
    deadlineMs,
    tunnelDeadlineMs,
    stats,
    directLines: directLines + timeoutLine(deadlineMs),
    directTunnelLines: directLines + timeoutLine(tunnelDeadlineMs),
    referenceLines: functionLines,
    directPlans: relayPlans(serving, settings, HEADER_REFUSED),
    referencePlans: relayPlans(serving, settings, ""),
  };
}

const timeoutLine = (deadlineMs: number): string =>
  deadlineMs > 0 ? `${HEADER_TIMEOUT_MS}: ${deadlineMs}\r\n` : "";

function relayPlans({ limits }: Serving, settings: PlanSettings, refusalHeader: string): RelayPlan[] {
  const { streaming, timeoutMs } = limits;
  const plain: RelayPlan = {
    requestFilter: settings.requestFilter,
    responseFilter: settings.responseFilter,
    refusalHeader,
    expectContinue: refusalHeader !== "",
    connectTimeoutMs: settings.connectTimeoutMs,
    responseTimeoutMs: timeoutMs,
    idleTimeoutMs: streaming ? streaming.idleTimeoutMs : Math.max(timeoutMs, CLIENT_STALL_MS),
    maxBodyBytes: limits.maxBodyBytes,
    allowUpgrade: true,
  };
  const tunnel: RelayPlan = {
    ...plain,
    idleTimeoutMs: streaming ? streaming.idleTimeoutMs : settings.tunnelIdleMs,
  };
  const plans: RelayPlan[] = [];
  for (const base of [0, PLAN_CORS, PLAN_INTERNAL]) {
    const filters = {
      requestFilter: base === PLAN_INTERNAL ? settings.internalRequestFilter : settings.requestFilter,
      responseFilter: base === PLAN_CORS ? settings.corsResponseFilter : settings.responseFilter,
    };
    plans[base] = { ...plain, ...filters };
    plans[base | PLAN_UPGRADE] = { ...tunnel, ...filters };
  }
  return plans;
}

/** Prepares a pod for requests of the function that its revision serves. */
export function equipEndpoint(endpoint: Endpoint, plan: ServingPlan): void {
  const podLine = `${HEADER_POD}: ${endpoint.podUid}\r\n`;
  endpoint.headers = flatText(endpoint.direct ? plan.directLines + podLine : plan.referenceLines);
  endpoint.tunnelHeaders = endpoint.direct ? plan.directTunnelLines + podLine : plan.referenceLines;
  endpoint.plans = endpoint.direct ? plan.directPlans : plan.referencePlans;
}
