import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { PlatformError } from "../api/errors.ts";
import type { ReferenceVerifier } from "./reference-sign.ts";
import { EMPTY_SHA256, type HeaderLookup, type Verifier } from "./sign.ts";

export interface SignedCallsOptions {
  readonly verifier: Verifier;
  /** Also lets calls in the reference system's format through. */
  readonly reference?: ReferenceVerifier;
  /** Paths (without query) that need no signature, e.g. `/healthz`. */
  readonly open?: readonly string[];
}

declare module "fastify" {
  interface FastifyRequest {
    /** Namespace that a call in the reference system's format was signed for; null when it was signed for all or in our format. */
    signedNamespace: string | null;
  }
}

/**
 * Makes a fastify instance refuse (401 `unauthorized`) every call that is not signed for it. The head is checked before the body is
 * read; the body's digest while it streams, so a handler that reads a raw stream sees an error in it when it was tampered with:
 * it must commit nothing before the stream's end.
 */
export function requireSignedCalls(app: FastifyInstance, options: SignedCallsOptions): void {
  const open = new Set(options.open ?? []);
  const expected = new WeakMap<FastifyRequest, (bodySha256: string) => void>();
  app.decorateRequest("signedNamespace", null);
  app.addHook("onRequest", async (request) => {
    const target = request.raw.url ?? "/";
    if (open.has(target.split("?", 1)[0] ?? target)) return;
    const check = checkHead(request, target, options);
    if (hasBody(request)) expected.set(request, check);
    else check(EMPTY_SHA256);
  });
  app.addHook("preParsing", async (request, _reply, payload) => {
    const check = expected.get(request);
    if (!check) return payload;
    const hash = createHash("sha256");
    let receivedEncodedLength = 0;
    const digesting = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        receivedEncodedLength += chunk.length;
        Object.assign(digesting, { receivedEncodedLength });
        hash.update(chunk);
        done(null, chunk);
      },
      flush: (done) => {
        try {
          check(hash.digest("hex"));
          done();
        } catch (error) {
          done(error instanceof Error ? error : new Error(String(error)));
        }
      },
    });
    // A handler may answer without reading the body: its error is then nobody's, and must not end the process.
    digesting.on("error", () => undefined);
    payload.on("error", (error: Error) => digesting.destroy(error));
    return payload.pipe(digesting);
  });
}

const hasBody = (request: FastifyRequest): boolean =>
  request.headers["transfer-encoding"] !== undefined ||
  (request.headers["content-length"] !== undefined && request.headers["content-length"] !== "0");

const lookup =
  (request: FastifyRequest): HeaderLookup =>
  (name) => {
    const value = request.headers[name];
    return typeof value === "string" ? value : undefined;
  };

/** Verifies what can be verified now; the returned function does the rest once the body's digest is known. */
function checkHead(
  request: FastifyRequest,
  target: string,
  { verifier, reference }: SignedCallsOptions,
): (bodySha256: string) => void {
  const header = lookup(request);
  const { method } = request;
  if (!verifier.claims(header) && reference?.claims(header)) {
    return (bodySha256) => {
      const result = reference.verify({ method, target, bodySha256 }, header);
      if (!result.ok) throw unauthorized(result.reason);
      request.signedNamespace = result.namespace ?? null;
    };
  }
  const result = verifier.verify(method, target, header);
  if (!result.ok) throw unauthorized(result.reason);
  return (bodySha256) => {
    if (bodySha256 !== result.bodySha256) throw unauthorized("the body is not the one that was signed");
  };
}

const unauthorized = (reason: string) =>
  new PlatformError("unauthorized", `Cannot accept the call: ${reason}`);
