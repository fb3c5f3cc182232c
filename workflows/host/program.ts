/*
 * The definition host: runs definitions' own code, and nothing else of it reaches anywhere. Started with no permission at all; speaks frames (4-byte length,
 * JSON) on its standard input and output. One `vm` context per definition, into which only text goes and from which only text comes: a function or an
 * object of this realm would be a way out of it.
 *
 * Invariants:
 * 1. Requests are answered in the order in which they came: whoever kills this process knows by that which definition it was busy with.
 * 2. Code of a definition runs under `timeout` only, its promise jobs included.
 * 3. Nothing of a definition is kept but its context.
 */
import process from "node:process";
import { Buffer } from "node:buffer";
import { type Context, createContext, Script } from "node:vm";

interface Request {
  readonly id: number;
  readonly digest: string;
  readonly method: string;
  readonly timeoutMs: number;
  /** Code of `load`; else JSON texts. */
  readonly args: readonly string[];
}

/** Runs before a definition, in its context. What is here is of that realm. */
const PRELUDE = `"use strict";
globalThis.__isotope = { lines: [], size: 0 };
{
  const write = (level) => (...values) => {
    const { __isotope: { lines } } = globalThis;
    if (lines.length >= 100) return;
    const text = values.map((value) => {
      if (typeof value === "string") return value;
      try { return JSON.stringify(value) ?? String(value); } catch { return String(value); }
    }).join(" ");
    lines.push({ label: level, value: text.slice(0, 4096) });
  };
  globalThis.console = Object.fromEntries(["log", "info", "warn", "error", "debug", "trace"].map((level) => [level, write(level)]));
  globalThis.structuredClone = (value) => value === undefined ? undefined : JSON.parse(JSON.stringify(value));
  globalThis.queueMicrotask = (job) => { void Promise.resolve().then(job); };
  const refuse = (name, advice) => () => { throw new TypeError("There is no " + name + " in a workflow's definition: " + advice); };
  globalThis.setTimeout = refuse("setTimeout", "use after, or a delayed raise");
  globalThis.setInterval = refuse("setInterval", "use after, or a delayed raise");
  globalThis.clearTimeout = globalThis.clearInterval = () => {};
  globalThis.fetch = refuse("fetch", "call a function with invoke");
}`;

/** Runs after it: finds what the module exports and answers calls with text. */
const DRIVER = `"use strict";
{
  const { parse, stringify } = JSON;
  const found = globalThis.__isotopeWorkflow;
  if (typeof found !== "object" || found === null || found.protocol !== 1 || typeof found.transition !== "function")
    throw new TypeError("The module's export is no workflow: it must be made by defineWorkflow of @isotope/platform/workflows");
  const call = (method, a, b) => {
    switch (method) {
      case "describe": return { facts: found.facts(), problems: found.problems() };
      case "start": return found.start(parse(a));
      case "transition": return found.transition(a, parse(b));
      case "checkInput": return found.checkInput(parse(a)) ?? null;
      case "checkEvent": return found.checkEvent(parse(a)) ?? null;
    }
  };
  const text = (value) => (typeof value === "string" ? value : String(value));
  globalThis.__isotopeCall = () => {
    const { __isotope, __isotopeMethod, __isotopeA, __isotopeB } = globalThis;
    __isotope.lines = [];
    try {
      const value = stringify(call(__isotopeMethod, __isotopeA, __isotopeB));
      return '"value":' + value + (__isotope.lines.length === 0 ? "" : ',"lines":' + stringify(__isotope.lines));
    } catch (error) {
      const isError = typeof error === "object" && error !== null;
      return '"threw":' + stringify({
        name: isError ? text(error.name ?? "Error") : "Error",
        message: (isError ? text(error.message ?? "") : text(error)).slice(0, 8192),
        stack: isError && typeof error.stack === "string" ? error.stack.split("\\n    at call (driver.js")[0].slice(0, 8192) : "",
      });
    }
  };
}`;

const MAX_ANSWER = 64 * 1024 * 1024;
const CALL = new Script("__isotopeCall()", { filename: "call.js" });
const contexts = new Map<string, Context>();

function load({ digest, args, timeoutMs }: Request): string {
  const [code = ""] = args;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object without prototype
  const context = createContext(Object.create(null) as Context, {
    codeGeneration: { strings: false, wasm: false },
    microtaskMode: "afterEvaluate",
  });
  new Script(PRELUDE, { filename: "prelude.js" }).runInContext(context);
  new Script(code, { filename: "workflow.js" }).runInContext(context, { timeout: timeoutMs });
  new Script(DRIVER, { filename: "driver.js" }).runInContext(context, { timeout: timeoutMs });
  contexts.set(digest, context);
  return '"value":null';
}

function answer(request: Request): string {
  if (request.method === "load") return load(request);
  if (request.method === "drop") {
    contexts.delete(request.digest);
    return '"value":null';
  }
  const context = contexts.get(request.digest);
  if (!context) return '"missing":true';
  context["__isotopeMethod"] = request.method;
  context["__isotopeA"] = request.args[0];
  context["__isotopeB"] = request.args[1];
  const result: unknown = CALL.runInContext(context, { timeout: request.timeoutMs });
  if (typeof result !== "string") return '"invalid":true';
  return result.length > MAX_ANSWER ? '"tooLarge":true' : result;
}

const isTimeout = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  (("code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") ||
    ("message" in error && /execution timed out|execution terminated/i.test(String(error.message))));

function failed(error: unknown): string {
  if (isTimeout(error)) return '"timedOut":true';
  const field = (name: string): string => {
    const value: unknown = typeof error === "object" && error !== null ? Reflect.get(error, name) : undefined;
    return typeof value === "string" ? value : "";
  };
  return `"threw":${JSON.stringify({
    name: field("name") || "Error",
    message: (field("message") || String(error)).slice(0, 8192),
    stack: field("stack").slice(0, 8192),
  })}`;
}

function write(text: string): void {
  const bytes = Buffer.from(text, "utf8");
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(bytes.length);
  process.stdout.write(Buffer.concat([head, bytes]));
}

function handle(frame: Buffer): void {
  const request: Request = JSON.parse(frame.toString("utf8"));
  const startedAt = process.cpuUsage();
  let result: string;
  try {
    result = answer(request);
  } catch (error) {
    result = failed(error);
  }
  const { user, system } = process.cpuUsage(startedAt);
  write(`{"id":${request.id},"cpuMs":${(user + system) / 1_000},${result}}`);
}

let pending: Buffer = Buffer.alloc(0);
process.stdin.on("data", (chunk: Buffer) => {
  pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
  let at = 0;
  while (pending.length - at >= 4) {
    const length = pending.readUInt32BE(at);
    if (pending.length - at - 4 < length) break;
    handle(pending.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  pending = pending.subarray(at);
});
process.stdin.on("end", () => process.exit(0));
write('{"id":0,"cpuMs":0,"value":"ready"}');
