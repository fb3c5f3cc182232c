import { type Dispatcher, request as httpRequest } from "undici";
import { BUILD_CONTENT_TYPE, BUILD_FRAME, type BuildRequest, BuildResult } from "../../api/wire/builder.ts";
import { messageHead, readFrames } from "../../api/wire/frames.ts";

/** Why a builder pod gave no result. Only `refused` says that trying the same pod again is of no use. */
export type NoResult =
  /** The pod cannot be reached, or its process died on the way. */
  | { readonly kind: "died"; readonly message: string }
  /** It runs as many builds as it takes. */
  | { readonly kind: "busy" }
  /** It knows another token: it is not, or no longer, ours. */
  | { readonly kind: "stranger" }
  | { readonly kind: "refused"; readonly message: string };

export type BuildReply =
  | { readonly kind: "result"; readonly result: BuildResult; readonly artifact: Uint8Array | undefined }
  | NoResult;

export interface SendBuildOptions {
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  readonly token: string;
  readonly request: BuildRequest;
  readonly source: Uint8Array;
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
  readonly maxArtifactBytes: number;
}

/** Time beyond the build's own limit until a silent pod is given up, in milliseconds. */
const GRACE_MS = 15_000;
const MAX_REFUSAL_CHARACTERS = 500;

/** Sends one build to a builder pod and reads its reply to the end. Throws only when `signal` is aborted. */
export async function sendBuild(options: SendBuildOptions): Promise<BuildReply> {
  const timeout = AbortSignal.timeout(options.request.timeoutMs + GRACE_MS);
  try {
    const reply = await httpRequest(`${options.origin}/v1/build`, {
      dispatcher: options.dispatcher,
      method: "POST",
      headers: { authorization: `Bearer ${options.token}`, "content-type": BUILD_CONTENT_TYPE },
      body: Buffer.concat([messageHead(options.request), options.source]),
      signal: AbortSignal.any([options.signal, timeout]),
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    if (reply.statusCode === 200) return await readReply(reply.body, options);
    const text = (await reply.body.text()).slice(0, MAX_REFUSAL_CHARACTERS);
    if (reply.statusCode === 429) return { kind: "busy" };
    if (reply.statusCode === 401) return { kind: "stranger" };
    return { kind: "refused", message: `the builder answered ${reply.statusCode}: ${text}` };
  } catch (error) {
    options.signal.throwIfAborted();
    return { kind: "died", message: error instanceof Error ? error.message : String(error) };
  }
}

async function readReply(body: AsyncIterable<Uint8Array>, options: SendBuildOptions): Promise<BuildReply> {
  let result: BuildResult | undefined;
  let artifact: Uint8Array | undefined;
  for await (const { type, content } of readFrames(body, options.maxArtifactBytes)) {
    if (type === BUILD_FRAME.log) options.onLog(Buffer.from(content).toString("utf8"));
    else if (type === BUILD_FRAME.result)
      result = BuildResult.parse(JSON.parse(Buffer.from(content).toString("utf8")));
    else if (type === BUILD_FRAME.artifact) artifact = content;
  }
  if (!result) return { kind: "died", message: "its answer ended without a result" };
  if (result.outcome === "succeeded" && artifact?.length !== result.sizeBytes) {
    return { kind: "died", message: "its answer ended inside the artifact" };
  }
  return { kind: "result", result, artifact };
}
