/**
 * Types for functions: `import type { Context, FunctionConfig, Handler } from "@isotope/platform"`.
 * Nothing here exists at run time. `Request` and `Response` are the global ones of the project (its `lib` names "DOM", or Deno's types).
 */
export type {
  Async,
  AsyncDestination,
  Cors,
  Duration,
  FunctionConfig,
  HttpMethod,
  KeyReference,
  ObjectReference,
  Queue,
  QueueType,
  Route,
  Timer,
  Watch,
} from "./function-config.ts";

/** What a handler may know and do beside its request. */
export interface Context {
  /** The request's id: in its log lines, in the answer's `x-fission-request-id`. */
  readonly requestId: string;
  /** Which function, in which revision, runs. */
  readonly function: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly revision: string;
  };
  /** The function's environment variables, also in `process.env`. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables of the route's path, by their lower-case names: `{id}` is `params.id`. */
  readonly params: Readonly<Record<string, string>>;
  /** Content of the function's secrets as text, by name and key. */
  readonly secrets: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Content of the function's config maps as text, by name and key. */
  readonly configs: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Aborts when the client leaves, and at the deadline; the same as `request.signal`. */
  readonly signal: AbortSignal;
  /** Work that goes on after the answer, for at most 30 seconds: the pod is kept until it is done. */
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Data that `JSON.stringify` writes. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

/** What a handler may return: a Response, or text, bytes, a stream, JSON data, or nothing (204). */
export type Reply =
  | Response
  | string
  | Uint8Array
  | ArrayBuffer
  | ReadableStream
  | Blob
  | object
  | number
  | boolean
  | null
  | undefined
  | void;

/** `export default (request, ctx) => new Response("hello")`. */
export type Handler = (request: Request, ctx: Context) => Reply | Promise<Reply>;

/** `export default { fetch(request, env, ctx) { … } }`. */
export interface FetchHandler {
  fetch(request: Request, env: Context["env"], ctx: Context): Reply | Promise<Reply>;
}

/** The request of the reference system's Node form, its body read and parsed. */
export interface NodeRequest {
  readonly method: string;
  readonly url: string;
  readonly originalUrl: string;
  readonly path: string;
  readonly hostname: string;
  readonly protocol: string;
  readonly query: Readonly<Record<string, string | string[]>>;
  readonly params: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  get(name: string): string | undefined;
}

/** The answer of the reference system's Node form. */
export interface NodeReply {
  status: number;
  body?: unknown;
  headers?: Record<string, string | string[]>;
}

/** `module.exports = async (context) => ({ status: 200, body: "hello" })`. */
export type NodeHandler = (context: { readonly request: NodeRequest }) => NodeReply | Promise<NodeReply>;

/** `module.exports = (context, callback) => callback(200, "hello")`. */
export type NodeCallbackHandler = (
  context: { readonly request: NodeRequest },
  callback: (status: number, body?: unknown, headers?: Record<string, string | string[]>) => void,
) => void;
