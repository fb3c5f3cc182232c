import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent } from "undici";
import type { BuildHooks, BuildInput, BuildOutcome } from "../../api/build.ts";
import type { Environment } from "../../api/kinds/index.ts";
import type { Log } from "../../net/log.ts";
import { isOwnBuilderImage } from "./builder-pod.ts";
import { type BuilderPods, NoBuilderPod, type ReadyBuilder } from "./builder-pods.ts";
import { fairQueue } from "./fair-queue.ts";
import { type BuildReply, sendBuild } from "./send-build.ts";

export interface PackageBuilder {
  /** Runs one build to its end. Rejects only when `signal` is aborted. */
  build(input: BuildInput, hooks: BuildHooks): Promise<BuildOutcome>;
  /** Has the Environment's builder pod made, so that the first build need not wait for it. */
  warm(environment: Environment): Promise<void>;
  close(): Promise<void>;
}

export interface PackageBuilderOptions {
  readonly pods: BuilderPods;
  readonly log: Log;
  /** Builds at the same time, over all namespaces. */
  readonly concurrency: number;
  /** Limit of one build in its pod. */
  readonly buildTimeoutMs: number;
  /** Pods that one build may be tried on. */
  readonly attempts?: number;
  readonly backoffMs?: number;
  /** A builder pod that is not used for so long is deleted; 0 = never. */
  readonly idlePodMs: number;
  readonly maxArtifactBytes: number;
}

const BUSY_PAUSE_MS = 200;
const REAP_EVERY_MS = 30_000;

export function packageBuilder(options: PackageBuilderOptions): PackageBuilder {
  const dispatcher = new Agent({ connect: { timeout: 3_000 }, keepAliveTimeout: 10_000, pipelining: 0 });
  const queue = fairQueue(options.concurrency);
  const reaper =
    options.idlePodMs > 0
      ? setInterval(
          () => {
            options.pods.reapIdle(options.idlePodMs).catch((error: unknown) => {
              options.log.warn("cannot delete idle builder pods", { error });
            });
          },
          Math.min(REAP_EVERY_MS, options.idlePodMs),
        )
      : undefined;
  reaper?.unref();

  const build = async (input: BuildInput, hooks: BuildHooks): Promise<BuildOutcome> => {
    const refusal = unusableImage(input.environment) ?? unusableCommand(input);
    if (refusal !== undefined) return { outcome: "failed", fault: "user", message: refusal };
    return await queue.run(input.namespace, hooks.signal, () => onSomePod(input, hooks));
  };

  const onSomePod = async (input: BuildInput, hooks: BuildHooks): Promise<BuildOutcome> => {
    const attempts = options.attempts ?? 3;
    for (let attempt = 1; ; attempt += 1) {
      const tried = await onePod(input, hooks);
      if ("outcome" in tried) return tried;
      options.log.warn("a build gave no result", {
        namespace: input.namespace,
        package: input.package,
        attempt,
        why: tried.retry,
      });
      if (attempt >= attempts) {
        return {
          outcome: "failed",
          fault: "platform",
          message: `No builder pod finished the build in ${attempts} attempts: ${tried.retry}`,
        };
      }
      hooks.onLog(`${tried.retry}; trying again on another builder pod (${attempt + 1} of ${attempts})`);
      await sleep((options.backoffMs ?? 500) * 2 ** (attempt - 1), undefined, { signal: hooks.signal });
    }
  };

  const onePod = async (input: BuildInput, hooks: BuildHooks): Promise<BuildOutcome | { retry: string }> => {
    let builder: ReadyBuilder;
    try {
      builder = await options.pods.ready(input.environment, hooks.onLog);
    } catch (error) {
      hooks.signal.throwIfAborted();
      if (error instanceof NoBuilderPod)
        return { outcome: "failed", fault: "platform", message: error.message };
      return {
        retry: `the builder pod cannot be had (${error instanceof Error ? error.message : String(error)})`,
      };
    }
    const reply = await untilTaken({ dispatcher, options, builder, input, hooks }).finally(() =>
      options.pods.done(builder.pod),
    );
    if (reply.kind === "result") return outcomeOf(reply);
    if (reply.kind === "refused")
      return { outcome: "failed", fault: "platform", message: `Cannot build: ${reply.message}` };
    await options.pods.giveUp(builder.pod);
    const why = reply.kind === "died" ? reply.message : "it does not accept our token";
    return { retry: `builder pod ${builder.pod.name} gave no result (${why})` };
  };

  return {
    build,
    warm: async (environment) => {
      if (unusableImage(environment) !== undefined) return;
      options.pods.done((await options.pods.ready(environment, () => {})).pod);
    },
    close: async () => {
      clearInterval(reaper);
      await dispatcher.destroy();
    },
  };
}

interface OnePodBuild {
  readonly dispatcher: Agent;
  readonly options: PackageBuilderOptions;
  readonly builder: ReadyBuilder;
  readonly input: BuildInput;
  readonly hooks: BuildHooks;
}

/** A pod may be busy with builds of another manager, and may know the older of two keys. */
async function untilTaken({
  dispatcher,
  options,
  builder,
  input,
  hooks,
}: OnePodBuild): Promise<Exclude<BuildReply, { kind: "busy" }>> {
  const deadline = performance.now() + options.buildTimeoutMs;
  let tokens = [...builder.tokens];
  for (;;) {
    const reply = await sendBuild({
      dispatcher,
      origin: builder.origin,
      token: tokens[0] ?? "",
      request: {
        namespace: input.namespace,
        package: input.package,
        source: {
          sha256: input.source.sha256,
          sizeBytes: input.source.bytes.length,
          filename: input.source.filename,
        },
        command: input.command,
        entry: input.entry,
        typeCheck: input.typeCheck,
        timeoutMs: options.buildTimeoutMs,
      },
      source: input.source.bytes,
      onLog: hooks.onLog,
      signal: hooks.signal,
      maxArtifactBytes: options.maxArtifactBytes,
    });
    if (reply.kind === "stranger" && tokens.length > 1) {
      tokens = tokens.slice(1);
      continue;
    }
    if (reply.kind !== "busy") return reply;
    if (performance.now() > deadline) return { kind: "refused", message: "the builder stayed busy" };
    await sleep(BUSY_PAUSE_MS, undefined, { signal: hooks.signal });
  }
}

function outcomeOf({ result, artifact }: Extract<BuildReply, { kind: "result" }>): BuildOutcome {
  if (result.outcome === "failed") return { outcome: "failed", fault: result.fault, message: result.message };
  const sha256 = createHash("sha256")
    .update(artifact ?? "")
    .digest("hex");
  if (!artifact || sha256 !== result.sha256) {
    return {
      outcome: "failed",
      fault: "platform",
      message: "The artifact that arrived is not the one that was built",
    };
  }
  return { outcome: "succeeded", artifact, sha256 };
}

function unusableImage(environment: Environment): string | undefined {
  const { name } = environment.metadata;
  return environment.spec.builder?.image
    ? undefined
    : `Environment "${name}" has no builder: set its builder image to isotope/builder, or deploy a built archive`;
}

const SHELL_CHARACTERS = /[;|&`$()<>\n\r]/;

/** What a foreign builder may be told to run: a program of its image or of the source, with arguments, and nothing that a shell would read. */
function unusableCommand({ environment, command }: BuildInput): string | undefined {
  if (isOwnBuilderImage(environment.spec.builder?.image ?? "") || !SHELL_CHARACTERS.test(command))
    return undefined;
  return `Cannot run build command "${command}": it must not contain any of ; | & \` $ ( ) < > or line ends`;
}
