import type { Exchange } from "./http/types.ts";

/** What lies under it is the router's own, whatever the triggers claim. */
export const OWN_PREFIX = "/_isotope/";

/** Header lines of every answer that the router makes for itself. */
const OWN_LINES = "x-content-type-options: nosniff\r\nvary: Origin\r\n";

export interface OwnPathsDeps {
  readonly version: { readonly Version: string; readonly GitCommit: string; readonly BuildDate: string };
  /** Undefined when requests can be served, else what is missing. */
  readonly notReady: () => string | undefined;
}

export interface OwnPaths {
  /** Answers a request for one of the router's own paths. @returns whether it was one */
  answer(exchange: Exchange): boolean;
  /** `GET /` when no trigger owns it. */
  answerRoot(exchange: Exchange): boolean;
}

/** `/router-healthz`, `/readyz` and `/_version` of the public listener. */
export function ownPaths(deps: OwnPathsDeps): OwnPaths {
  const version = JSON.stringify(deps.version);
  const answers = new Map<string, () => readonly [status: number, type: string, body: string]>([
    ["/router-healthz", () => [200, "text/plain", "ok\n"]],
    [
      "/readyz",
      () => {
        const reason = deps.notReady();
        return reason === undefined ? [200, "text/plain", "ok\n"] : [503, "text/plain", `${reason}\n`];
      },
    ],
    ["/_version", () => [200, "application/json", `${version}\n`]],
  ]);
  const reply = (exchange: Exchange, status: number, type: string, body: string) =>
    exchange.reply(status, `content-type: ${type}\r\n${OWN_LINES}`, body);

  return {
    answer: (exchange) => {
      const make = answers.get(exchange.path);
      if (make === undefined) return false;
      if (exchange.method === "GET" || exchange.method === "HEAD") reply(exchange, ...make());
      else if (exchange.method === "OPTIONS" && exchange.header("origin") !== undefined)
        reply(exchange, 403, "text/plain", "cross-origin calls are not allowed\n");
      else exchange.reply(405, `allow: GET, HEAD\r\ncontent-type: text/plain\r\n${OWN_LINES}`, "GET only\n");
      return true;
    },
    answerRoot: (exchange) => {
      if (exchange.path !== "/" || (exchange.method !== "GET" && exchange.method !== "HEAD")) return false;
      reply(exchange, 200, "text/plain", "Isotope router: no HTTPTrigger claims this path\n");
      return true;
    },
  };
}
