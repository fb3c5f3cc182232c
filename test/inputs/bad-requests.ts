import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { HEADER_AUTH_TIMESTAMP } from "../../api/headers.ts";
import { SPECIALIZE_CONTENT_TYPE } from "../../api/wire/specialize.ts";
import { messageHead } from "../../api/wire/frames.ts";
import { podTokens } from "../../net/pod-token.ts";
import { keyRing } from "../../net/keys.ts";
import { sha256Hex, type SignOptions, signer } from "../../net/sign.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";

/** Where bad requests go, and what a caller with or without the right to call knows. */
export interface Targets {
  readonly router: string;
  readonly internal: string;
  readonly ops: string;
  readonly executor: string;
  /** Value of the Authorization header for the operations API. */
  readonly bearer: string;
  /** Headers that sign one call for a receiver. */
  readonly sign: (
    audience: string,
    method: string,
    target: string,
    body?: string,
    options?: SignOptions,
  ) => Record<string, string>;
  /** A generic pod of the pool. */
  readonly pod: { readonly url: string; readonly uid: string; readonly token: string };
}

export interface Answer {
  readonly status: number;
  /** Head and body. */
  readonly text: string;
}

export interface BadRequest {
  readonly name: string;
  readonly send: (targets: Targets) => Promise<Answer>;
  readonly status: number;
  readonly says: readonly (string | RegExp)[];
}

export function targetsOf(
  platform: TestPlatform,
  bearer: string,
  pod: { namespace: string; name: string; uid: string; ip: string },
): Targets {
  const key = readFileSync(join(platform.home, "keys", "internal"), "utf8").trim();
  const ring = keyRing([key]);
  const base = new URL(platform.connection.routerUrl);
  return {
    router: platform.connection.routerUrl,
    internal: platform.connection.routerInternalUrl,
    ops: platform.connection.opsUrl,
    executor: `http://127.0.0.1:${Number(base.port) + 4}`,
    bearer,
    sign: (audience, method, target, body = "", options = {}) =>
      signer(ring, audience, options)({ method, target, bodySha256: sha256Hex(body) }),
    pod: {
      url: `http://${pod.ip}:8888`,
      uid: pod.uid,
      token: podTokens(ring.masters(), pod.namespace, pod.name)[0] ?? "",
    },
  };
}

async function answerOf(reply: Response): Promise<Answer> {
  const head = [...reply.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return { status: reply.status, text: `${head}\n\n${(await reply.text()).replaceAll('\\"', '"')}` };
}

/** Sends bytes as they are and reads what comes until the other side closes or falls silent. */
function raw(origin: string, bytes: string, endAfterMs = 20_000): Promise<Answer> {
  const { hostname, port } = new URL(origin);
  return new Promise((done, fail) => {
    let text = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    const finish = (): void => {
      socket.destroy();
      done({ status: Number(/^HTTP\/1\.\d (\d{3})/.exec(text)?.[1] ?? 0), text });
    };
    socket.setTimeout(endAfterMs, finish);
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const length = /content-length: (\d+)/i.exec(text)?.[1];
      const body = text.indexOf("\r\n\r\n");
      if (body >= 0 && length !== undefined && text.length - body - 4 >= Number(length)) finish();
    });
    socket.on("close", finish);
    socket.on("error", (error) => (text === "" ? fail(error) : finish()));
  });
}

const requests: BadRequest[] = [];
const row = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  send: BadRequest["send"],
): void => void requests.push({ name, status, says, send });

// The public listener.
const onRouter = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  path: string,
  init: RequestInit = {},
) => row(`router: ${name}`, status, says, async ({ router }) => answerOf(await fetch(router + path, init)));
const onRouterRaw = (name: string, status: number, reason: string, bytes: string) =>
  row(`router: ${name}`, status, [reason], ({ router }) => raw(router, bytes));
const GET = (path: string, lines = "") => `GET ${path} HTTP/1.1\r\nHost: x\r\n${lines}\r\n`;

onRouter("no such route", 404, ["route_miss", "x-fission-route-miss"], "/nothing-here");
onRouter("wrong method", 405, ["method_not_allowed", /allow: GET/i], "/only-get", { method: "DELETE" });
onRouter("the internal path of a function", 404, ["route_miss"], "/fission-function/hello");
onRouter("the same by a longer way", 400, ["bad_request"], "/x/..%2ffission-function/default/hello");
onRouter("a control path of pods", 404, ["route_miss"], "/_isotope/status");
onRouter("specialise over the router", 404, ["route_miss"], "/v2/specialize", { method: "POST", body: "x" });
onRouterRaw(
  "body too large",
  413,
  "body_too_large",
  `POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n`,
);
onRouterRaw("target too long", 414, "uri_too_long", GET(`/${"a".repeat(70_000)}`));
onRouterRaw("headers too large", 431, "headers_too_large", GET("/hello", `X: ${"a".repeat(200_000)}\r\n`));
onRouterRaw("no host", 400, "bad_request", "GET /hello HTTP/1.1\r\n\r\n");
onRouterRaw("two lengths", 400, "bad_request", GET("/hello", "Content-Length: 1\r\nContent-Length: 2\r\n"));
onRouterRaw(
  "length and chunks",
  400,
  "bad_request",
  `POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
);
onRouterRaw(
  "unknown transfer coding",
  501,
  "not_implemented",
  `POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n`,
);
onRouterRaw("another version", 505, "http_version", "GET /hello HTTP/3.0\r\nHost: x\r\n\r\n");
onRouterRaw("an expectation", 417, "expectation_failed", GET("/hello", "Expect: the-best\r\n"));
onRouterRaw("a space in a header name", 400, "bad_request", GET("/hello", "X Y: 1\r\n"));
onRouterRaw(
  "a bad chunk",
  400,
  "bad_request",
  `POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
);
onRouterRaw("a dot path", 400, "bad_request", GET("/a/../../hello\u0000"));

// The internal listener.
row("internal: unsigned", 401, ["unauthorized", "not signed"], async ({ internal }) =>
  answerOf(await fetch(`${internal}/fission-function/default/hello`)),
);
row("internal: signed for another receiver", 401, ["unauthorized"], async ({ internal, sign }) =>
  answerOf(
    await fetch(`${internal}/fission-function/default/hello`, {
      headers: sign("executor", "GET", "/fission-function/default/hello"),
    }),
  ),
);
row("internal: replayed", 401, ["unauthorized", "received before"], async ({ internal, sign }) => {
  const headers = sign("router-internal", "GET", "/fission-function/default/hello");
  await (await fetch(`${internal}/fission-function/default/hello`, { headers })).text();
  return answerOf(await fetch(`${internal}/fission-function/default/hello`, { headers }));
});
row("internal: no such function", 404, ["function_not_found"], async ({ internal, sign }) =>
  answerOf(
    await fetch(`${internal}/fission-function/default/nobody`, {
      headers: sign("router-internal", "GET", "/fission-function/default/nobody"),
    }),
  ),
);

// The executor.
const ACQUIRE = "/v2/acquire";
const acquire = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  body: string,
  headers?: (targets: Targets) => Record<string, string>,
) =>
  row(`executor: ${name}`, status, says, async (targets) =>
    answerOf(
      await fetch(targets.executor + ACQUIRE, {
        method: "POST",
        body,
        headers: {
          "content-type": "application/json",
          ...(headers?.(targets) ?? targets.sign("executor", "POST", ACQUIRE, body)),
        },
      }),
    ),
  );
const message = (change: Record<string, unknown>): string =>
  JSON.stringify({
    namespace: "default",
    name: "hello",
    uid: "u",
    revision: "r",
    known: [],
    waiting: 1,
    requestId: "x",
    waitMs: 100,
    ...change,
  });
acquire("unsigned", 401, ["unauthorized"], message({}), () => ({}));
acquire("another body than was signed", 401, ["unauthorized"], message({}), ({ sign }) =>
  sign("executor", "POST", ACQUIRE, "{}"),
);
acquire("signed for another receiver", 401, ["unauthorized", "executor"], message({}), ({ sign }) =>
  sign("storage", "POST", ACQUIRE, message({})),
);
acquire("signed for another target", 401, ["unauthorized"], message({}), ({ sign }) =>
  sign("executor", "POST", "/v2/suspect", message({})),
);
acquire("signed two minutes ago", 401, ["unauthorized", "60 s"], message({}), ({ sign }) =>
  sign("executor", "POST", ACQUIRE, message({}), { now: () => Date.now() - 120_000 }),
);
acquire("another time than was signed", 401, ["unauthorized", "signature"], message({}), ({ sign }) => ({
  ...sign("executor", "POST", ACQUIRE, message({})),
  [HEADER_AUTH_TIMESTAMP]: String(Date.now() + 1),
}));
acquire("no JSON", 400, ["bad_request"], "{not json");
acquire("a list", 400, ["bad_request", "acquire"], "[]");
acquire("no function", 400, ["bad_request", '"name"'], message({ name: undefined }));
acquire("nobody waits", 400, ["bad_request", '"waiting"'], message({ waiting: 0 }));
acquire("a wait that is no number", 400, ["bad_request", '"waitMs"'], message({ waitMs: "long" }));
acquire("no such function", 404, ["function_not_found"], message({ name: "nobody" }));
acquire("too large", 413, ["body_too_large"], message({ requestId: "x".repeat(2 * 2 ** 20) }));
row("executor: replayed", 401, ["unauthorized", "received before"], async ({ executor, sign }) => {
  const headers = sign("executor", "GET", "/v2/debug");
  await (await fetch(`${executor}/v2/debug`, { headers })).text();
  return answerOf(await fetch(`${executor}/v2/debug`, { headers }));
});

// The operations API.
const onOps = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  path: string,
  init: RequestInit = {},
) =>
  row(`operations: ${name}`, status, says, async ({ ops, bearer }) =>
    answerOf(
      await fetch(ops + path, {
        ...init,
        headers: { authorization: bearer, ...Object.fromEntries(new Headers(init.headers)) },
      }),
    ),
  );
onOps("no token", 401, ["unauthorized", "Bearer"], "/v1/status", { headers: { authorization: "" } });
onOps("a wrong token", 401, ["unauthorized", "wrong or expired"], "/v1/status", {
  headers: { authorization: "Bearer guess" },
});
onOps("another scheme", 401, ["unauthorized"], "/v1/status", {
  headers: { authorization: "Basic Z3Vlc3M=" },
});
onOps("a token in the query", 401, ["unauthorized"], "/v1/status?token=guess", {
  headers: { authorization: "" },
});
onOps("no such path", 404, ["/v1/nothing"], "/v1/nothing");
onOps("another method", 404, ["POST /v1/status"], "/v1/status", { method: "POST" });
onOps("no lines", 400, ["bad_request", '"limit"', 'got "0"'], "/v1/logs?limit=0");
onOps("a level that is none", 400, ["bad_request", '"level"', 'got "loud"'], "/v1/logs?level=loud");
onOps("a time that is none", 400, ["bad_request", '"since"', "yesterday"], "/v1/logs?since=yesterday");
onOps("follow maybe", 400, ["bad_request", '"follow"'], "/v1/logs?follow=maybe");
onOps("a search too long", 400, ["bad_request", '"search"'], `/v1/logs?search=${"x".repeat(2000)}`);
onOps("pods of a name too long", 400, ["bad_request", '"function"'], `/v1/pods?function=${"x".repeat(300)}`);
onOps("invoke nothing", 400, ["bad_request", "/v1/invoke/"], "/v1/invoke/default");
onOps("invoke by a path out of it", 400, ["bad_request"], "/v1/invoke/default/..%2f..%2fx");
onOps("invoke a name that is none", 400, ["bad_request", "Hello_World"], "/v1/invoke/default/Hello_World");
onOps("invoke nobody", 404, ["function_not_found"], "/v1/invoke/default/nobody");

// The archive store.
const sha = (text: string): string => createHash("sha256").update(text).digest("hex");
const put = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  query: string,
  body: string,
  headers = {},
) => onOps(`archive: ${name}`, status, says, `/v1/archive${query}`, { method: "PUT", body, headers });
put("without a token", 401, ["unauthorized"], `?sha256=${sha("x1")}`, "x1", { authorization: "" });
put("another digest", 400, ["archive_invalid", sha("other")], `?sha256=${sha("other")}`, "x2");
put("a digest that is none", 400, ["archive_invalid", '"sha256"', '"abc"'], "?sha256=abc", "x3");
put(
  "two digests",
  400,
  ["archive_invalid", '"sha256"', "once"],
  `?sha256=${sha("x4")}&sha256=${sha("x4")}`,
  "x4",
);
put("another size", 400, ["archive_invalid", "5"], `?sha256=${sha("x5")}`, "x5", { "x-file-size": "5" });
put("a size that is none", 400, ["archive_invalid", "many"], `?sha256=${sha("x6")}`, "x6", {
  "x-file-size": "many",
});
put("more than the cap by its size", 413, ["archive_too_large"], `?sha256=${sha("x7")}`, "x7", {
  "x-file-size": "999999999999",
});
put("nothing", 400, ["archive_invalid"], "", "");
onOps("archive: a form that is none", 400, ["archive_invalid", "multipart/form-data"], "/v1/archive", {
  method: "POST",
  body: "x",
  headers: { "content-type": "text/plain" },
});
onOps("archive: a form without the file", 400, ["archive_invalid", "uploadfile"], "/v1/archive", {
  method: "POST",
  body: '--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n',
  headers: { "content-type": "multipart/form-data; boundary=b" },
});
onOps("archive: a form that is cut off", 400, ["archive_invalid"], "/v1/archive", {
  method: "POST",
  body: '--b\r\ncontent-disposition: form-data; name="uploadfile"; filename="a"\r\n\r\nhalf',
  headers: { "content-type": "multipart/form-data; boundary=b" },
});
onOps("archive: not there", 404, ["archive_not_found"], `/v1/archive?id=${"0".repeat(64)}`);
onOps("archive: an id out of the store", 404, ["archive_not_found"], "/v1/archive?id=../../keys/internal");
onOps("archive: delete nothing", 400, ["archive_invalid", '"id"'], "/v1/archive", { method: "DELETE" });
row("operations: archive: an upload that is broken off", 0, [], ({ ops, bearer }) =>
  raw(
    ops,
    `PUT /v1/archive?sha256=${sha("x".repeat(1000))} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer}\r\nContent-Length: 1000\r\n\r\n${"x".repeat(500)}`,
    300,
  ),
);

// A generic pod.
const onPod = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  path: string,
  init: (targets: Targets) => RequestInit = () => ({}),
) =>
  row(`pod: ${name}`, status, says, async (targets) =>
    answerOf(await fetch(targets.pod.url + path, init(targets))),
  );
const specialise = (
  name: string,
  status: number,
  says: readonly (string | RegExp)[],
  body: NonNullable<RequestInit["body"]>,
  token?: string,
) =>
  onPod(`specialise: ${name}`, status, says, "/v2/specialize", ({ pod }) => ({
    method: "POST",
    body,
    headers: { "content-type": SPECIALIZE_CONTENT_TYPE, authorization: `Bearer ${token ?? pod.token}` },
  }));
onPod("a call before it is specialised", 500, ["Generic container: no requests supported"], "/");
onPod("status without a token", 401, ["unauthorized"], "/_isotope/status");
onPod("retire with a wrong token", 401, ["unauthorized"], "/_isotope/retire", () => ({
  method: "POST",
  body: '{"ifIdleForMs":0}',
  headers: { authorization: "Bearer guess" },
}));
onPod("drain without a token", 401, ["unauthorized"], "/_isotope/drain", () => ({ method: "POST" }));
onPod("a control call that is none", 404, ["/_isotope/format"], "/_isotope/format", ({ pod }) => ({
  headers: { authorization: `Bearer ${pod.token}` },
}));
onPod("retire without a time", 400, ["bad_request", "ifIdleForMs"], "/_isotope/retire", ({ pod }) => ({
  method: "POST",
  body: '{"ifIdleForMs":"now"}',
  headers: { authorization: `Bearer ${pod.token}` },
}));
onPod("retire with no JSON", 400, ["bad_request", "JSON"], "/_isotope/retire", ({ pod }) => ({
  method: "POST",
  body: "{",
  headers: { authorization: `Bearer ${pod.token}` },
}));
specialise("no token", 401, ["unauthorized"], "x", "");
specialise("a wrong token", 401, ["unauthorized"], "x", "guess");
specialise("another pod's token", 401, ["unauthorized"], "x", "a".repeat(64));
specialise("nothing", 400, ["bad_request"], "");
specialise("a frame that ends early", 400, ["bad_request"], new Uint8Array([0, 0, 1, 0, 123]));
specialise("a frame longer than allowed", 400, ["bad_request"], new Uint8Array([255, 255, 255, 255, 123]));
specialise("no JSON in the frame", 400, ["bad_request"], new Uint8Array([0, 0, 0, 2, 123, 123]));
specialise("a message without fields", 400, ["bad_request"], Buffer.from(messageHead({})));
specialise(
  "a message of wrong types",
  400,
  ["bad_request"],
  Buffer.from(messageHead({ podUid: 5, revision: null })),
);
onPod("headers too large", 400, [], "/", () => ({ headers: { "x-big": "a".repeat(100_000) } }));

export const BAD_REQUESTS: readonly BadRequest[] = requests;
