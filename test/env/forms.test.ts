import { afterAll, afterEach, describe, expect, it } from "vitest";
import { classifyHandler, parameters } from "../../env-images/deno/handler-form.ts";
import { call, startFunction, startPod, specialize, stopPods, json } from "./deno-pod.ts";

afterEach(stopPods);
afterAll(stopPods);

const reply = async (code: string, init: RequestInit = {}, path = "/a?b=c", functionName = "") => {
  const pod = await startFunction(code, { functionName, env: { GREETING: "hi" } });
  const answer = await call(pod, path, init);
  return {
    status: answer.status,
    type: answer.headers.get("content-type"),
    headers: answer.headers,
    text: await answer.text(),
  };
};

describe("forms of handlers", () => {
  it.each([
    [
      "an object with fetch",
      "export default { fetch(request, env, ctx) { return new Response([env.GREETING, ctx.function.name, new URL(request.url).search].join()) } }",
      "hi,hello,?b=c",
    ],
    [
      "fetch that uses this",
      "export default new (class { word = 'w'; fetch() { return new Response(this.word) } })()",
      "w",
    ],
    ["a function", "export default (request) => new Response(request.method)", "GET"],
    [
      "an asynchronous function with ctx",
      "export default async function (request, ctx) { return new Response(ctx.function.revision) }",
      "rev-1",
    ],
    [
      "Deno.serve(handler)",
      "Deno.serve((request, info) => new Response(typeof info.remoteAddr.hostname))",
      "string",
    ],
    [
      "Deno.serve(options, handler)",
      "Deno.serve({ port: 1234, onListen(a) { globalThis.p = a.port } }, () => new Response(String(globalThis.p)))",
      "1234",
    ],
    ["Deno.serve with a handler option", "await Deno.serve({ handler: () => new Response('opt') })", "opt"],
    [
      "a bundled CommonJS module",
      "var require_x = (m) => (m = { exports: {} }, m.exports = async function (context) { return { status: 200, body: context.request.query.b } }, m.exports); export default require_x();",
      "c",
    ],
    [
      "module.exports",
      "module.exports = async function (context) { return { status: 200, body: context.request.url } }",
      "/a?b=c",
    ],
    [
      "the callback form",
      "module.exports = function (context, callback) { callback(200, context.request.get('Host').split(':')[0]) }",
      "127.0.0.1",
    ],
    [
      "the context's response",
      "module.exports = async (context) => { context.response.status(200).json({ a: 1 }) }",
      '{"a":1}',
    ],
    ["node's (req, res)", "export default (req, res) => { res.end(req.method + req.url) }", "GET/a?b=c"],
    ["a thenable", "export default () => ({ then(done) { done(new Response('thenable')) } })", "thenable"],
  ])("%s", async (_name, code, text) => {
    expect(await reply(code)).toMatchObject({ status: 200, text });
  });

  it.each([
    ["text", "'text'", 200, "text/plain; charset=utf-8", "text"],
    ["an object", "({ a: 1 })", 200, "application/json; charset=utf-8", '{"a":1}'],
    ["a list", "[1, 2]", 200, "application/json; charset=utf-8", "[1,2]"],
    ["a number", "42", 200, "application/json; charset=utf-8", "42"],
    ["bytes", "new TextEncoder().encode('bytes')", 200, "application/octet-stream", "bytes"],
    ["a buffer", "new TextEncoder().encode('buffer').buffer", 200, "application/octet-stream", "buffer"],
    ["a stream", "new Blob(['stream']).stream()", 200, "application/octet-stream", "stream"],
    ["a blob", "new Blob(['blob'], { type: 'text/x' })", 200, "text/x", "blob"],
    ["nothing", "undefined", 204, null, ""],
    ["null", "null", 204, null, ""],
    [
      "a reply object",
      "({ status: 201, body: { a: 1 }, headers: { 'x-a': 'b' } })",
      201,
      "application/json; charset=utf-8",
      '{"a":1}',
    ],
    [
      "an object with a status field of its own",
      "({ status: 'ok', body: 1 })",
      200,
      "application/json; charset=utf-8",
      '{"status":"ok","body":1}',
    ],
  ])("returning %s", async (_name, value, status, type, text) => {
    expect(await reply(`export default async (request) => ${value}`)).toMatchObject({ status, type, text });
  });

  it.each([
    ["a function", "() => {}"],
    ["a cycle", "(() => { const a = {}; a.a = a; return a })()"],
    ["a status out of range", "({ status: 700, body: '' }, new Response('', { status: 700 }))"],
  ])("returning %s is an error of the function", async (_name, value) => {
    const answer = await reply(`export default () => (${value})`);
    expect([answer.status, answer.headers.get("x-isotope-error")]).toEqual([500, "function_error"]);
  });

  it.each([
    ["file.export", "lib.handler", "no"],
    [".export", ".handler", "named"],
  ])("named export by %s", async (_name, functionName, text) => {
    const code =
      "export const handler = () => new Response('named'); export default () => new Response('default')";
    if (functionName.startsWith(".")) expect((await reply(code, {}, "/", functionName)).text).toBe(text);
    else {
      const pod = await startPod();
      const answer = await specialize(pod, code, { functionName });
      expect([answer.status, (await json(answer)).code]).toEqual([422, "entry_not_found"]);
    }
  });

  it("ISOTOPE_HANDLER_FORM decides when it is set", async () => {
    const pod = await startFunction(
      "export default async (x) => ({ status: 200, body: Object.keys(x).join() })",
      {
        env: { ISOTOPE_HANDLER_FORM: "context" },
      },
    );
    expect(await (await call(pod)).text()).toBe("request,response");
  });

  it.each([
    ["application/json", '{"a":[1]}', '{"a":[1]}'],
    ["application/x-www-form-urlencoded", "a=1&a=2&b=3", '{"a":["1","2"],"b":"3"}'],
    ["text/plain", "plain", '"plain"'],
    ["application/octet-stream", "raw", '{"type":"Buffer","data":[114,97,119]}'],
  ])("the context's body of %s", async (type, body, seen) => {
    const code =
      "module.exports = async (context) => ({ status: 200, body: JSON.stringify(context.request.body) })";
    expect((await reply(code, { method: "POST", body, headers: { "content-type": type } })).text).toBe(seen);
  });

  it("a context's body that is not JSON is the caller's fault", async () => {
    const code = "module.exports = async (context) => ({ status: 200, body: 'x' })";
    expect(
      (await reply(code, { method: "POST", body: "{", headers: { "content-type": "application/json" } }))
        .status,
    ).toBe(400);
  });

  it("an Express-like application with several middlewares", async () => {
    const code =
      "const app = function (req, res, next) { const chunks = []; req.on('data', (c) => chunks.push(c)); req.on('end', () => { res.setHeader('x-n', '1'); res.statusCode = 201; res.end(Buffer.concat(chunks).toString().toUpperCase()) }) }; export default app;";
    expect(await reply(code, { method: "POST", body: "abc" })).toMatchObject({ status: 201, text: "ABC" });
  });
});

describe("classifyHandler", () => {
  it.each([
    ["(request) => new Response()", 1, "request"],
    ["async (req) => new Response(req.url)", 1, "request"],
    ["async function handler(request, ctx) {}", 2, "request"],
    ["async function(context) {}", 1, "context"],
    ["async context => ({})", 1, "context"],
    ["ctx => ({})", 1, "context"],
    ["async function main(context2) {}", 1, "context"],
    ["({ request }) => ({})", 1, "context"],
    ["async ({ request: { body } }) => ({})", 1, "context"],
    ["({ url, method }) => new Response()", 1, "request"],
    ["function (context, callback) {}", 2, "callback"],
    ["(c, cb) => cb(200)", 2, "callback"],
    ["function a(e){return e.request.body}", 1, "context"],
    ["function a(e){return{status:200,body:e?.request?.body}}", 1, "context"],
    ["function a(e){const{request:t}=e;return t}", 1, "context"],
    ["function a(e){return fetch(e.requestId)}", 1, "request"],
    ["function a(e){return other.e.request}", 1, "request"],
    ["function (req, res) {}", 2, "node"],
    ["(req, res, next) => {}", 3, "node"],
    ["function(e,t){t.writeHead(200),t.end()}", 2, "node"],
    ["function(e,t){t.waitUntil(x)}", 2, "request"],
    ["() => new Response()", 0, "request"],
    ["function () { [native code] }", 1, "request"],
    ["async fetch(request, env) {}", 2, "request"],
    ["(x = { a: '),(' }, y) => {}", 0, "request"],
    ["async /* (context) */ function (req /* , res */) {}", 1, "request"],
  ])("%s", (source, arity, form) => {
    expect(classifyHandler(source, arity)).toBe(form);
  });

  it("takes parameters apart", () => {
    expect(parameters("async function x({ a, b = [1, 2] }, c = ')', ...d) {}")).toEqual([
      "{ a, b = [1, 2] }",
      "c",
      "...d",
    ]);
  });
});
