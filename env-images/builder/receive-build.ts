import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { BUILD_HEAD_MAX_BYTES, BuildRequest } from "../../api/wire/builder.ts";
import { readMessage } from "../../api/wire/frames.ts";

/** A build message that is malformed; answered with 400. */
export class BadBuildMessage extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "BadBuildMessage";
  }
}

/** Reads a build message to its end: the request, and its source into `sourcePath`. Size and digest are verified. */
export async function receiveBuild(
  body: AsyncIterable<Uint8Array>,
  sourcePath: string,
  maxSourceBytes: number,
): Promise<BuildRequest> {
  const hash = createHash("sha256");
  let request: BuildRequest | undefined;
  let sizeBytes = 0;
  const file = await open(sourcePath, "wx", 0o600);
  try {
    for await (const part of readMessage(body, BUILD_HEAD_MAX_BYTES)) {
      if (part.kind === "json") {
        request = parseRequest(part.value, maxSourceBytes);
        continue;
      }
      sizeBytes += part.bytes.length;
      if (!request || sizeBytes > request.source.sizeBytes)
        throw new BadBuildMessage("The source is longer than announced");
      hash.update(part.bytes);
      await file.writeFile(part.bytes);
    }
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) {
      throw new BadBuildMessage(`Cannot read the build message: ${error.message}`, { cause: error });
    }
    throw error;
  } finally {
    await file.close();
  }
  if (!request) throw new BadBuildMessage("The build message is empty");
  if (sizeBytes !== request.source.sizeBytes) {
    throw new BadBuildMessage(
      `The source has ${sizeBytes} bytes, announced were ${request.source.sizeBytes}`,
    );
  }
  const digest = hash.digest("hex");
  if (digest !== request.source.sha256) {
    throw new BadBuildMessage(`The source's sha256 is ${digest}, announced was ${request.source.sha256}`);
  }
  return request;
}

function parseRequest(value: unknown, maxSourceBytes: number): BuildRequest {
  const parsed = BuildRequest.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new BadBuildMessage(
      `Cannot read the build request: "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "wrong form"}`,
    );
  }
  if (parsed.data.source.sizeBytes > maxSourceBytes) {
    throw new BadBuildMessage(
      `The source has ${parsed.data.source.sizeBytes} bytes, allowed are ${maxSourceBytes}`,
    );
  }
  return parsed.data;
}
