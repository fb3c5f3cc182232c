/**
 * Specialisation: the runtime gets a function. Code, secrets and config maps come with the message and are put into the folders that the
 * two containers share; then the runtime is told to load them.
 *
 * 1. A function is marked as loading before anything of its message is used, so that two callers cannot both get in.
 * 2. A message that is refused as a whole (400, 401, 409) changes nothing.
 * 3. When anything fails from the digest check on, a pod for one function is spent (`failed`); one for many has lost that function only.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { SpecializeError, SpecializeReply, SpecializeRequest } from "../../api/wire/specialize.ts";
import { ArchiveError } from "../../net/archive/archive-error.ts";
import { MalformedMessage, parseSpecializeMessage } from "../deno/specialize-message.ts";
import { callNeighbour, NeighbourAway } from "./neighbour.ts";
import { placeArchive, placeMounts } from "./place-files.ts";
import { type FetcherPod, newAssignment, podState } from "./pod.ts";
import type { FetcherSettings } from "./settings.ts";

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** As long as the reference system gives a runtime to take its first connection; the caller's own limit comes earlier. */
const PATIENCE_MS = 7 * 60_000;
const MAX_ANSWER_BYTES = 4_096;
const MAX_REASON_CHARACTERS = 500;

/** Takes the body of `POST /v2/specialize`. The signal aborts when the caller has left. */
export async function specialize(
  pod: FetcherPod,
  settings: FetcherSettings,
  bytes: Uint8Array<ArrayBuffer>,
  signal: AbortSignal,
): Promise<Answer> {
  const arrivedAt = performance.now();
  let message: ReturnType<typeof parseSpecializeMessage>;
  try {
    message = parseSpecializeMessage(bytes);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return { status: 400, body: { component: "fetcher", reason: "bad_request", message: error.message } };
  }
  const { request, archive } = message;
  const conflict = whyNot(pod, request) ?? whyUnusable(settings, request);
  if (conflict) return conflict;
  const { uid } = request.function;
  pod.loading.add(uid);
  try {
    await load(settings, request, archive, signal);
    // A drain may have begun meanwhile; what is loaded then is never called.
    pod.assignments.set(uid, newAssignment(request));
  } catch (error) {
    if (!pod.shared) pod.failed = true;
    return failure(error);
  } finally {
    pod.loading.delete(uid);
  }
  const reply: SpecializeReply = {
    podUid: pod.uid,
    revision: request.revision,
    loadMs: performance.now() - arrivedAt,
  };
  return { status: 200, body: reply };
}

function whyNot(pod: FetcherPod, request: SpecializeRequest): Answer | undefined {
  const conflict = (message: string): Answer => ({
    status: 409,
    body: { component: "fetcher", reason: "already_specialised", message },
  });
  if (request.podUid !== pod.uid)
    return conflict(`Cannot specialise: this is pod "${pod.uid}", not "${request.podUid}"`);
  const state = podState(pod);
  if (pod.shared && (state === "generic" || state === "specialising" || state === "specialised")) {
    const { uid } = request.function;
    const known = pod.loading.has(uid) || pod.assignments.has(uid);
    return known ? conflict(`Cannot specialise: function "${uid}" is in the pod already`) : undefined;
  }
  return state === "generic" ? undefined : conflict(`Cannot specialise: the pod is ${state}`);
}

/** Variables of one function cannot be given to a process that runs already. */
function whyUnusable(
  settings: FetcherSettings,
  { env, secrets, configMaps }: SpecializeRequest,
): Answer | undefined {
  const names = Object.keys(env);
  const mounted = [...secrets, ...configMaps].find(({ mountPath }) => mountPath !== undefined);
  const message =
    names.length > 0
      ? `Cannot specialise: the runtime's image takes no variables of a function, got "${names[0]}"`
      : settings.shared && mounted
        ? `Cannot specialise: "${mounted.name}" has mountPath "${mounted.mountPath}", which functions that share a pod cannot have`
        : undefined;
  return message === undefined
    ? undefined
    : { status: 400, body: { component: "fetcher", reason: "bad_request", message } };
}

async function load(
  settings: FetcherSettings,
  request: SpecializeRequest,
  archive: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const digest = createHash("sha256").update(archive).digest("hex");
  if (digest !== request.archive.sha256)
    throw new Unloadable(
      "archive_digest",
      `Cannot specialise: the archive's sha256 is ${digest}, not ${request.archive.sha256}`,
    );
  const target = join(settings.userfunc, codeName(settings, request.function.uid));
  await placeArchive(archive, target, settings.keepArchive);
  await placeMounts(settings.secrets, request.secrets, 0o400);
  await placeMounts(settings.configs, request.configMaps, 0o440);
  await callRuntime(settings, request, target, signal);
}

/** Where the contract has the code: one file in v1, a file or folder in v2 and v3, one for each function where they share a pod. */
function codeName({ shared, envVersion }: FetcherSettings, functionUid: string): string {
  if (!shared) return envVersion === 1 ? "user" : "deployarchive";
  if (!/^[A-Za-z0-9-]{1,64}$/.test(functionUid))
    throw new Unloadable("load_failed", `Cannot specialise: function UID "${functionUid}" is no folder name`);
  return functionUid;
}

async function callRuntime(
  { neighbour, envVersion, shared }: FetcherSettings,
  request: SpecializeRequest,
  filepath: string,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name, uid, resourceVersion } = request.function;
  const first = envVersion === 1 && !shared;
  const body = {
    filepath,
    functionName: request.functionName,
    url: "",
    FunctionMetadata: { name, namespace, uid, resourceVersion },
    envVersion,
  };
  const answer = await callNeighbour(
    {
      ...neighbour,
      method: "POST",
      path: first ? "/specialize" : "/v2/specialize",
      contentType: first ? "text/plain" : "application/json",
      body: first ? "" : JSON.stringify(body),
      signal,
      maxBytes: MAX_ANSWER_BYTES,
    },
    PATIENCE_MS,
  );
  if (answer.status < 300) return;
  const reason = answer.text.trim().slice(0, MAX_REASON_CHARACTERS);
  throw new Unloadable(
    "load_failed",
    `Cannot load the function: the runtime answered ${answer.status}${reason === "" ? "" : `: ${reason}`}`,
  );
}

/** The function is at fault, not the pod. */
class Unloadable extends Error {
  override readonly name = "Unloadable";
  readonly code: SpecializeError["code"];
  constructor(code: SpecializeError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

function failure(error: unknown): Answer {
  const rejected = (code: SpecializeError["code"], message: string): Answer => {
    const body: SpecializeError = { code, message };
    return { status: 422, body };
  };
  if (error instanceof Unloadable) return rejected(error.code, error.message);
  if (error instanceof ArchiveError)
    return rejected("archive_unsafe", `Cannot unpack the archive: ${error.message}`);
  const message = error instanceof Error ? error.message : String(error);
  // The runtime ended while it loaded, or the disk is full: another pod may do better.
  return {
    status: 503,
    body: {
      component: "fetcher",
      reason: error instanceof NeighbourAway ? "runtime_away" : "internal",
      message: `Cannot specialise: ${message}`,
    },
  };
}
