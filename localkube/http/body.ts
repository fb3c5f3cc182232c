import type { IncomingMessage } from "node:http";
import { parse as parseYaml } from "yaml";
import { ApiError, badRequest, unsupportedMediaType } from "../api/api-error.ts";
import { decodeProtobuf, PROTOBUF_TYPE } from "../protobuf/decode.ts";
import { findDuplicateKeys } from "./duplicate-keys.ts";

const MAX_BODY_BYTES = 3 * 1024 * 1024;

const tooLarge = (): ApiError =>
  new ApiError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${MAX_BODY_BYTES}`);

/** The whole body. Rejects with 413 beyond 3 MB. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      request.removeAllListeners("data");
      reject(tooLarge());
    } else chunks.push(chunk);
  });
  request.on("end", () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
  request.on("error", reject);
  return promise;
}

/** The media type without its parameters, in lower case; "" when none is given. */
export const mediaType = (request: IncomingMessage): string =>
  (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";

export interface ParsedBody {
  value: unknown;
  /** Faults that strict field validation refuses: keys that occur twice. */
  faults: string[];
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(
      `the object provided is unrecognized (must be of type JSON): ${error instanceof Error ? error.message : ""}`,
    );
  }
}

export function parseYamlText(text: string): unknown {
  try {
    return parseYaml(text, { uniqueKeys: true, maxAliasCount: 100 }) as unknown;
  } catch (error) {
    throw badRequest(
      `error decoding YAML: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : ""}`,
    );
  }
}

/** Parses an object in JSON, YAML or protobuf. Throws 400 on bad syntax and 415 on another media type. */
export function parseBody(type: string, body: Buffer, isStrict: boolean): ParsedBody {
  switch (type) {
    case "":
    case "application/json": {
      const text = body.toString();
      return { value: parseJson(text), faults: isStrict ? findDuplicateKeys(text) : [] };
    }
    case "application/yaml":
      return { value: parseYamlText(body.toString()), faults: [] };
    case PROTOBUF_TYPE:
      return { value: decodeProtobuf(body), faults: [] };
    default:
      throw unsupportedMediaType(
        `the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, ${PROTOBUF_TYPE}`,
      );
  }
}
