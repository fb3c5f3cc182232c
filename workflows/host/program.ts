/*
 * The definition host: runs definitions' own code, and nothing else of it reaches anywhere. Started with no permission at all; speaks frames (4-byte length,
 * JSON) on its standard input and output. One `vm` context per definition, into which only text goes and from which only text comes: a function or an
 * object of this realm would be a way out of it.
 *
 * Invariants:
 * 1. Requests are answered in the order in which they came, and what is answered is written before anything of another batch runs: whoever kills this process
 *    knows by that which definition it was busy with. A batch is at most `MAX_BATCH` requests of one definition.
 * 2. Code of a definition runs under `timeout` only, its promise jobs included.
 * 3. Nothing of a definition is kept but its context.
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import { type Context, createContext, Script } from "node:vm";

/** Read and written without an event loop in between, which would cost more than most transitions. */
declare const Deno: {
  readonly stdin: { readSync(into: Uint8Array): number | null };
  readonly stdout: { writeSync(bytes: Uint8Array): number };
};

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

/** Runs after it: finds what the module exports and answers calls with text. Requests and answers are texts without anything in between, and their lengths. */
const DRIVER = `"use strict";
{
  const { parse, stringify } = JSON;
  const found = globalThis.__isotopeWorkflow;
  if (typeof found !== "object" || found === null || found.protocol !== 1 || typeof found.transition !== "function")
    throw new TypeError("The module's export is no workflow: it must be made by defineWorkflow of @isotope/platform/workflows");
  const { __isotope } = globalThis;
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
  const answer = (method, a, b) => {
    __isotope.lines = [];
    try {
      const value = stringify(call(method, a, b));
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
  globalThis.__isotopeCall = () => {
    const { __isotopeCalls, __isotopeTexts } = globalThis;
    let at = 0;
    let lengths = "";
    let answers = "";
    for (const [method, a, b] of parse(__isotopeCalls)) {
      const given = answer(method, __isotopeTexts.slice(at, at + a), __isotopeTexts.slice(at + a, at + a + b));
      at += a + b;
      lengths += (lengths === "" ? "" : ",") + given.length;
      answers += given;
    }
    return lengths + ";" + answers;
  };
}`;

const MAX_ANSWER = 64 * 1024 * 1024;
/** Requests that one call into a context answers: a time limit costs as much as a small transition. The same as in `definition-host.ts`. */
const MAX_BATCH = 16;
/** A batch shall take no longer than this: others wait for it. */
const BATCH_US = 10_000;
/** Then whatever else the process has to do gets its turn. */
const READS_IN_A_ROW = 64;
const CHUNK_BYTES = 256 * 1024;
const CALL = new Script("__isotopeCall()", { filename: "call.js" });

interface Loaded {
  readonly context: Context;
  /** What a request takes as a rule, in µs of processor time; not known at first. */
  costUs: number;
}
const definitions = new Map<string, Loaded>();

/** Names of what is built in. Looking one up in a context costs a call out of it, so that code gets them as parameters. */
const BUILT_IN = new Script(
  `Object.getOwnPropertyNames(globalThis).filter((name) => /^[a-z]\\w*$/i.test(name) && !["eval", "undefined", "NaN", "Infinity"].includes(name)).join(",")`,
);

function load({ digest, args, timeoutMs }: Request): string {
  const [code = ""] = args;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object without prototype
  const context = createContext(Object.create(null) as Context, {
    codeGeneration: { strings: false, wasm: false },
    microtaskMode: "afterEvaluate",
  });
  new Script(PRELUDE, { filename: "prelude.js" }).runInContext(context);
  const names = String(BUILT_IN.runInContext(context));
  const whole = `((${names}) => {${code}\nglobalThis.__isotopeWorkflow = __isotopeWorkflow;})(${names})`;
  new Script(whole, { filename: "workflow.js" }).runInContext(context, { timeout: timeoutMs });
  new Script(DRIVER, { filename: "driver.js" }).runInContext(context, { timeout: timeoutMs });
  definitions.set(digest, { context, costUs: Infinity });
  return '"value":null';
}

/** Answers to requests of one definition. @throws what its code throws outside of a request, and when it takes too long */
function call({ context }: Loaded, requests: readonly Request[]): string[] {
  const texts = requests.flatMap(({ args: [a = "", b = ""] }) => [a, b]);
  context["__isotopeTexts"] = texts.length === 2 && texts[1] === "" ? texts[0] : texts.join("");
  context["__isotopeCalls"] = JSON.stringify(
    requests.map(({ method, args: [a = "", b = ""] }) => [method, a.length, b.length]),
  );
  const timeout = Math.min(...requests.map(({ timeoutMs }) => timeoutMs));
  const result: unknown = CALL.runInContext(context, { timeout });
  return answersIn(result, requests.length).map((answer) =>
    answer.length > MAX_ANSWER ? '"tooLarge":true' : answer,
  );
}

/** The parts of what a context has said, of which nothing is believed. */
function answersIn(result: unknown, count: number): string[] {
  const invalid = Array.from({ length: count }, () => '"invalid":true');
  if (typeof result !== "string") return invalid;
  const head = result.indexOf(";");
  const lengths = result.slice(0, Math.max(0, head)).split(",").map(Number);
  const sum = lengths.reduce((all, length) => all + length, 0);
  if (lengths.length !== count || !lengths.every(Number.isSafeInteger) || sum !== result.length - head - 1)
    return invalid;
  let at = head + 1;
  return lengths.map((length) => result.slice(at, (at += length)));
}

function answers(requests: readonly Request[]): string[] {
  const [first] = requests;
  if (first?.method === "load") return [load(first)];
  if (first?.method === "drop") {
    definitions.delete(first.digest);
    return ['"value":null'];
  }
  const definition = first && definitions.get(first.digest);
  if (!definition) return requests.map(() => '"missing":true');
  const startedAt = process.cpuUsage();
  try {
    return call(definition, requests);
  } finally {
    const { user, system } = process.cpuUsage(startedAt);
    const cost = (user + system) / requests.length;
    definition.costUs = Number.isFinite(definition.costUs) ? 0.8 * definition.costUs + 0.2 * cost : cost;
  }
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

function frameOf(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(4 + length);
  frame.writeUInt32BE(length);
  frame.write(text, 4);
  return frame;
}

function write(texts: readonly string[]): void {
  const frames = texts.map(frameOf);
  let bytes: Uint8Array = frames.length === 1 && frames[0] ? frames[0] : Buffer.concat(frames);
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
}

/** How many of these belong into one batch. */
function batchSize(requests: readonly Request[]): number {
  const [first] = requests;
  if (!first || first.method === "load" || first.method === "drop") return 1;
  const most = Math.min(
    MAX_BATCH,
    Math.floor(BATCH_US / (definitions.get(first.digest)?.costUs ?? Infinity)),
  );
  let size = 1;
  for (const next of requests.slice(1, Math.max(1, most))) {
    if (next.digest !== first.digest || next.method === "load" || next.method === "drop") break;
    size++;
  }
  return size;
}

function handle(requests: readonly Request[]): void {
  const startedAt = process.cpuUsage();
  let results: readonly string[];
  try {
    results = answers(requests);
  } catch (error) {
    // Which of them it was is found by asking each: none has been answered.
    if (requests.length > 1) {
      for (const request of requests) handle([request]);
      return;
    }
    results = [failed(error)];
  }
  const { user, system } = process.cpuUsage(startedAt);
  const cpuMs = (user + system) / 1_000;
  write(requests.map(({ id }, at) => `{"id":${id},"cpuMs":${cpuMs},${results[at]}}`));
}

function handleAll(requests: readonly Request[]): void {
  for (let rest = requests; rest.length > 0; ) {
    const size = batchSize(rest);
    handle(rest.slice(0, size));
    rest = rest.slice(size);
  }
}

/** Takes the whole frames off the bytes. */
function readFrames(bytes: Buffer): { requests: Request[]; rest: Buffer } {
  const requests: Request[] = [];
  let at = 0;
  while (bytes.length - at >= 4) {
    const length = bytes.readUInt32BE(at);
    if (bytes.length - at - 4 < length) break;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever started this process is believed
    requests.push(JSON.parse(bytes.toString("utf8", at + 4, at + 4 + length)) as Request);
    at += 4 + length;
  }
  return { requests, rest: bytes.subarray(at) };
}

write(['{"id":0,"cpuMs":0,"value":"ready"}']);
const chunk = Buffer.alloc(CHUNK_BYTES);
let pending: Buffer[] = [];
let size = 0;
let wanted = 4;
for (let reads = 1; ; reads++) {
  const count = Deno.stdin.readSync(chunk);
  if (count === null) break;
  pending.push(Buffer.from(chunk.subarray(0, count)));
  size += count;
  if (size >= wanted) {
    const { requests, rest } = readFrames(Buffer.concat(pending));
    pending = [rest];
    size = rest.length;
    wanted = size < 4 ? 4 : 4 + rest.readUInt32BE(0);
    handleAll(requests);
  }
  if (reads % READS_IN_A_ROW === 0) await new Promise((go) => setTimeout(go, 0));
}
process.exit(0);
