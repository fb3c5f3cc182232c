import { BUILD_CONTENT_TYPE } from "../../api/wire/builder.ts";
import { BodyError } from "../../engine/router/http/body-error.ts";
import { createListener } from "../../engine/router/http/listener.ts";
import type { Exchange, Handler } from "../../engine/router/http/types.ts";
import { createUpstreams } from "../../engine/router/http/upstream.ts";
import { BadBuildMessage, build, readBuildMessage } from "./build.ts";
import type { Fetcher } from "./fetcher.ts";
import { look } from "./neighbour.ts";
import { hasToken } from "./pod-token.ts";
import type { FetcherSettings } from "./settings.ts";

const MAX_MESSAGE_BYTES = 320 * 2 ** 20;
/** Builds at the same time in one pod. */
const MOST_BUILDS = 2;
const LOOK_TIMEOUT_MS = 1_000;
const JSON_TYPE = "content-type: application/json\r\n";

/** Starts the fetcher of a builder pod of a foreign image: `POST /v1/build` as `api/wire/builder.ts` has it. */
export async function startBuilderFetcher(
  settings: FetcherSettings,
  log: (message: string) => void,
): Promise<Fetcher> {
  const drained = Promise.withResolvers<void>();
  const upstreams = createUpstreams();
  let running = 0;
  let draining = false;
  const lookDrained = () => {
    if (draining && running === 0) drained.resolve();
  };

  const takeBuild = async (exchange: Exchange, signal: AbortSignal): Promise<void> => {
    if (draining || running >= MOST_BUILDS)
      return refuse(exchange, 429, "builder_unavailable", `Cannot build: ${MOST_BUILDS} builds run already`);
    running += 1;
    try {
      const message = await readBuildMessage(await exchange.readBody(MAX_MESSAGE_BYTES));
      const reply = await build(settings, message, signal);
      if (exchange.state === "open") exchange.reply(200, `content-type: ${BUILD_CONTENT_TYPE}\r\n`, reply);
    } finally {
      running -= 1;
      lookDrained();
    }
  };

  const answer = async (exchange: Exchange, signal: AbortSignal): Promise<void> => {
    const call = `${exchange.method} ${exchange.path}`;
    if (call === "GET /healthz") return exchange.reply(200, JSON_TYPE, '{"status":"ok"}');
    if (call === "GET /readiness-healthz") {
      const { host, port } = settings.neighbour;
      const ready = (await look(host, port, LOOK_TIMEOUT_MS)) === "listens";
      return exchange.reply(
        ready ? 200 : 503,
        JSON_TYPE,
        JSON.stringify({ status: ready ? "ready" : "starting" }),
      );
    }
    if (!hasToken(exchange, settings.token))
      return refuse(exchange, 401, "unauthorized", "Cannot build: the pod token is missing or wrong");
    if (call === "POST /v1/build") return takeBuild(exchange, signal);
    refuse(exchange, 404, "route_miss", `The fetcher has no call "${call}"`);
  };

  const handler: Handler = {
    onRequest: (exchange) => {
      const left = new AbortController();
      exchange.context = left;
      answer(exchange, left.signal).catch((error: unknown) => {
        if (exchange.state !== "open") return;
        const message = error instanceof Error ? error.message : String(error);
        if (error instanceof BadBuildMessage) return refuse(exchange, 400, "bad_request", message);
        if (error instanceof BodyError) return refuse(exchange, 413, "body_too_large", message);
        log(`A build broke: ${message}`);
        refuse(exchange, 503, "internal", message);
      });
    },
    onRefused: () => undefined,
    onFailed: () => undefined,
    onResponse: () => "",
    onDeadline: () => undefined,
    onEnd: ({ context }) => {
      if (context instanceof AbortController) context.abort();
    },
  };
  const listener = createListener(handler, { upstreams, limits: { bodyIdleTimeoutMs: 120_000 } });
  const port = await listener.listen(settings.host, settings.port);
  return {
    port,
    drain: () => {
      draining = true;
      lookDrained();
    },
    drained: drained.promise,
    close: async () => {
      await listener.close(0);
      upstreams.close();
    },
  };
}

function refuse(exchange: Exchange, status: number, reason: string, message: string): void {
  const headers = status === 429 ? `${JSON_TYPE}retry-after: 1\r\n` : JSON_TYPE;
  exchange.reply(status, headers, JSON.stringify({ component: "fetcher", reason, message }));
}
