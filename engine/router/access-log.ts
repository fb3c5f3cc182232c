import type { Log } from "../../net/log.ts";
import type { Exchange } from "./http/types.ts";
import type { InvokeDeps } from "./invoke.ts";

/** Lines a second at most; what is beyond is counted and told with the next line. */
const LINES_PER_SECOND = 20;

/**
 * Logs the ends of requests: with `errors` those that the platform failed (its own 5xx, and answers that broke off), with `all` every
 * one. Sparse on purpose: counters tell how many, lines tell which.
 */
export function accessLog(mode: "errors" | "all" | "none", log: Log): InvokeDeps["logEnd"] {
  if (mode === "none") return () => undefined;
  let second = 0;
  let lines = 0;
  let suppressed = 0;
  return (exchange, facts) => {
    const failed = (facts.code !== "" && exchange.status >= 500) || isBroken(exchange);
    if (!failed && mode === "errors") return;
    const now = Math.floor(exchange.endedAt / 1000);
    if (now !== second) {
      second = now;
      lines = 0;
    }
    if (lines >= LINES_PER_SECOND && mode === "errors") {
      suppressed += 1;
      return;
    }
    lines += 1;
    const fields = {
      ...facts,
      method: exchange.method,
      path: exchange.path,
      status: exchange.status,
      outcome: exchange.outcome,
      durationMs: Math.round((exchange.endedAt - exchange.startedAt) * 10) / 10,
      attempts: exchange.attempts,
      client: exchange.clientAddress,
      ...(suppressed > 0 ? { suppressedLines: suppressed } : {}),
    };
    suppressed = 0;
    if (failed) log.warn("Request failed", fields);
    else log.info("Request", fields);
  };
}

const isBroken = (exchange: Exchange): boolean =>
  exchange.outcome === "upstream-broken" || exchange.outcome === "timeout";
