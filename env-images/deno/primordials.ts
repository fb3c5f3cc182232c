/**
 * The built-ins that the control path uses, taken before any user code runs. A function may overwrite globals and prototypes
 * of its own process; it must not thereby read the platform's messages, forge its replies or lift a limit.
 *
 * Rule: code that runs after user code was loaded calls what is exported here, not methods of shared prototypes.
 */

type Method<This, Args extends unknown[], Result> = (this: This, ...args: Args) => Result;

/** Turns a method into a function that takes its receiver first and never looks anything up again. */
const uncurryThis: <This, Args extends unknown[], Result>(
  method: Method<This, Args, Result>,
) => (self: This, ...args: Args) => Result = Function.prototype.bind.bind(Function.prototype.call);

/** The getter of an accessor property, as a function of its receiver. */
function getterOf<This extends object, Key extends keyof This & string>(
  prototype: This,
  key: Key,
): (self: This) => This[Key] {
  const get = Object.getOwnPropertyDescriptor(prototype, key)?.get;
  if (get === undefined) throw new TypeError(`Cannot capture "${key}": it is not an accessor property`);
  return uncurryThis(get);
}

export const NativeResponse = Response;
export const NativeRequest = Request;
export const NativeHeaders = Headers;
export const NativePromise = Promise;
export const NativeAbortController = AbortController;
export const NativeDOMException = DOMException;
export const NativeReadableStream = ReadableStream;
export const NativeDate = Date;
export const NativeUint8Array = Uint8Array;

export const jsonParse = JSON.parse;
export const jsonStringify = JSON.stringify;
export const dateNow = Date.now;
export const now = performance.now.bind(performance);
export const startTimer = setTimeout;
export const stopTimer = clearTimeout;
export const randomUuid = crypto.randomUUID.bind(crypto);
export const digest = crypto.subtle.digest.bind(crypto.subtle);
export const isArray = Array.isArray;
export const defineProperty = Object.defineProperty;
export const objectKeys = Object.keys;
export const freeze = Object.freeze;
export const toNumber = Number;
export const min = Math.min;
export const max = Math.max;
export const promiseRace = Promise.race.bind(Promise);
export const hasInstance = uncurryThis(Function.prototype[Symbol.hasInstance]) as (
  type: unknown,
  value: unknown,
) => boolean;
export const promiseResolve = Promise.resolve.bind(Promise);

export const promiseThen: <T>(
  promise: Promise<T>,
  done: (value: T) => void,
  failed: (reason: unknown) => void,
) => void = uncurryThis(Promise.prototype.then);

export const headersGet = uncurryThis(Headers.prototype.get);
export const headersHas = uncurryThis(Headers.prototype.has);
export const headersDelete = uncurryThis(Headers.prototype.delete);
export const requestHeaders = getterOf(Request.prototype, "headers");
export const requestUrl = getterOf(Request.prototype, "url");
export const requestMethod = getterOf(Request.prototype, "method");
export const requestBody = getterOf(Request.prototype, "body");
export const requestBytes = uncurryThis(Request.prototype.bytes) as (
  request: Request,
) => Promise<Uint8Array<ArrayBuffer>>;
export const requestSignal = getterOf(Request.prototype, "signal");
export const responseHeaders = getterOf(Response.prototype, "headers");
export const responseStatus = getterOf(Response.prototype, "status");
export const responseBody = getterOf(Response.prototype, "body");
export const streamReader: (stream: ReadableStream<Uint8Array>) => ReadableStreamDefaultReader<Uint8Array> =
  uncurryThis(ReadableStream.prototype.getReader) as (
    stream: ReadableStream<Uint8Array>,
  ) => ReadableStreamDefaultReader<Uint8Array>;
export const readerRead: (
  reader: ReadableStreamDefaultReader<Uint8Array>,
) => Promise<{ done: false; value: Uint8Array } | { done: true; value?: Uint8Array | undefined }> =
  uncurryThis(ReadableStreamDefaultReader.prototype.read);
export const readerCancel: (
  reader: ReadableStreamDefaultReader<Uint8Array>,
  reason?: unknown,
) => Promise<void> = uncurryThis(ReadableStreamDefaultReader.prototype.cancel);

export const stringIndexOf = uncurryThis(String.prototype.indexOf);
export const stringSlice = uncurryThis(String.prototype.slice);
export const stringStartsWith = uncurryThis(String.prototype.startsWith);
export const stringCharCodeAt = uncurryThis(String.prototype.charCodeAt);

const encoder = new TextEncoder();
const encode = uncurryThis(TextEncoder.prototype.encode);
/** UTF-8 bytes of a text. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encode(encoder, text);

const decoder = new TextDecoder();
const decode = uncurryThis(TextDecoder.prototype.decode);
/** Text of UTF-8 bytes; invalid sequences become U+FFFD. */
export const utf8Text = (bytes: Uint8Array): string => decode(decoder, bytes);

const addListener = uncurryThis(EventTarget.prototype.addEventListener);
/** Adds a listener that runs once. */
export const once = (target: EventTarget, event: string, listener: () => void): void => {
  addListener(target, event, listener, { once: true });
};
const abortSignal = uncurryThis(AbortController.prototype.abort);
export const abortWith = (controller: AbortController, reason: unknown): void =>
  abortSignal(controller, reason);
export const controllerSignal = getterOf(AbortController.prototype, "signal");
export const signalAborted = getterOf(AbortSignal.prototype, "aborted");
export const signalReason = getterOf(AbortSignal.prototype, "reason");
export { uncurryThis };
