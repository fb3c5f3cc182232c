import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { environmentContract } from "./contract-suite.ts";
import { startPod, stopPods } from "./deno-pod.ts";

afterAll(stopPods);

async function start() {
  const pod = await startPod({ direct: false });
  return {
    address: pod.address,
    place: (name: string, content: string) => {
      const file = join(pod.root, "userfunc", name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      return file;
    },
    stop: pod.stop,
  };
}

environmentContract("deno, CommonJS and the context form", start, {
  hello: "module.exports = async function (context) { return { status: 200, body: 'hello' } }",
  echo: "module.exports = async ({ request }) => ({ status: 200, body: `${request.method} ${request.originalUrl} ${typeof request.body === 'string' ? request.body : ''}` })",
  named: {
    file: "lib.js",
    source:
      "exports.first = async (context) => ({ status: 200, body: 'first' });\nexports.second = (context, callback) => callback(200, 'second');",
  },
  teapot: "module.exports = (context, callback) => callback(418, 'tea', { 'x-kind': 'pot' })",
  throwing: "module.exports = async (context) => { throw new Error('no') }",
  broken: "module.exports = async function (context {",
});

environmentContract("deno, modules and the web form", start, {
  hello: "export default () => new Response('hello')",
  echo: "export default { async fetch(r) { const u = new URL(r.url); return new Response(`${r.method} ${u.pathname}${u.search} ${await r.text()}`) } }",
  named: {
    file: "lib.mjs",
    source: "export const first = () => new Response('first');\nexport function second() { return 'second' }",
  },
  teapot: "Deno.serve(() => new Response('tea', { status: 418, headers: { 'x-kind': 'pot' } }))",
  throwing: "export default () => { throw new Error('no') }",
  broken: "export default (",
});
