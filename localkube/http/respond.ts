import type { ServerResponse } from "node:http";
import { stringify as stringifyYaml } from "yaml";
import { ApiError } from "../api/api-error.ts";

const CHUNK_CHARS = 256 * 1024;

/** `Warning` headers as kubectl shows them. */
export function sendWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  response.setHeader(
    "Warning",
    warnings.slice(0, 50).map((text) => `299 - ${JSON.stringify(text.replaceAll(/[^\x20-\x7e]/g, "?"))}`),
  );
}

export function sendText(response: ServerResponse, code: number, type: string, text: string): void {
  response.writeHead(code, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-cache, private",
  });
  // As text it leaves in one piece with the headers.
  response.end(text);
}

/** Sends a JSON text or value, as YAML when that was asked for. */
export function sendJson(
  response: ServerResponse,
  code: number,
  body: string | object,
  format: "json" | "yaml" = "json",
): void {
  if (format === "yaml") {
    sendText(
      response,
      code,
      "application/yaml",
      stringifyYaml(typeof body === "string" ? JSON.parse(body) : body),
    );
    return;
  }
  sendText(response, code, "application/json", typeof body === "string" ? body : JSON.stringify(body));
}

/** Sends a list piece by piece, letting other requests run in between. */
export async function sendPieces(response: ServerResponse, pieces: Iterable<string>): Promise<void> {
  response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-cache, private" });
  let chunk = "";
  for (const piece of pieces) {
    chunk += piece;
    if (chunk.length < CHUNK_CHARS) continue;
    const drained = response.write(chunk);
    chunk = "";
    if (response.destroyed) return;
    if (drained) await new Promise((resolve) => setImmediate(resolve));
    else await onceDrained(response);
  }
  response.end(chunk);
}

const onceDrained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });

/** What a thrown value becomes: itself when it is a refusal, 500 otherwise. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new ApiError(500, "InternalError", `Internal error occurred: ${text}`, {
    causes: [{ message: text }],
  });
}

export function sendError(response: ServerResponse, error: ApiError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const retryAfter = error.details?.retryAfterSeconds;
  if (retryAfter !== undefined) response.setHeader("Retry-After", String(retryAfter));
  sendJson(response, error.code, error.toStatus());
}
