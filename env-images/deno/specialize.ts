/**
 * Specialisation: a generic pod gets its function, once.
 *
 * 1. The pod leaves `generic` before anything of the message is read, so that two callers cannot both get in.
 * 2. A message that is refused as a whole (400, 401, 409, a caller that leaves) changes nothing: the pod is generic again.
 * 3. From the digest check on the pod is spent when anything fails: state `failed`, every request refused.
 */
import { HEADER_TIMEOUT_MS } from "../../api/headers.ts";
import type { SpecializeError, SpecializeRequest } from "../../api/wire/specialize.ts";
import { sha256Hex, writeArchive } from "./archive.ts";
import { readBody } from "./bytes.ts";
import { type CodeTree, diskTree } from "./code-tree.ts";
import { badRequest, hasToken, unauthorized } from "./control.ts";
import type { FunctionFacts } from "./function-context.ts";
import { hiddenTexts } from "./hidden-texts.ts";
import { describeError } from "./intercept.ts";
import { type Invoke, makeInvoke } from "./invoke.ts";
import { LoadFailure, loadHandler } from "./load.ts";
import type { Log } from "./log.ts";
import { mountedText, writeMounts } from "./mounts.ts";
import type { Assignment, Pod } from "./pod.ts";
import { freeze, headersGet, now, requestHeaders, startTimer, stopTimer } from "./primordials.ts";
import { referenceRequest, type ReferenceRequest } from "./reference-contract.ts";
import { jsonReply } from "./reply.ts";
import type { Settings } from "./settings.ts";
import { MalformedMessage, parseSpecializeMessage } from "./specialize-message.ts";
import { UnsafeArchive } from "./zip.ts";

/** The same as `SPECIALIZE_CONTENT_TYPE` in `api/wire/specialize.ts`. */
export const CONTENT_TYPE = "application/vnd.isotope.specialize";

/** The first requests are served by then. */
const SETTLE_AFTER_MS = 1_000;
const MAX_MESSAGE_BYTES = 320 * 1024 * 1024;
const MAX_REFERENCE_BYTES = 1024 * 1024;
/** Where the caller names none. */
const LOAD_TIMEOUT_MS = 60_000;
const MAX_LOAD_TIMEOUT_MS = 3_600_000;

export interface SpecializeOwner {
  readonly pod: Pod;
  readonly settings: Settings;
  readonly log: Log;
  /** What the module gave to `Deno.serve`. */
  readonly served: () => ((request: Request, info: Deno.ServeHandlerInfo) => unknown) | null;
  /** Gives up what only specialisation needs: writing outside the function's own temporary folder. */
  readonly seal: () => void;
  readonly assign: (assignment: Assignment, invoke: Invoke) => void;
}

function spent(
  owner: SpecializeOwner,
  code: SpecializeError["code"],
  message: string,
  stack?: string,
): Response {
  owner.pod.state = "failed";
  owner.log.write("error", message, { stack });
  const body: SpecializeError = { code, message, ...(stack === undefined ? {} : { stack }) };
  return jsonReply(422, body);
}

function spentBy(owner: SpecializeOwner, error: unknown): Response {
  if (error instanceof UnsafeArchive) return spent(owner, "archive_unsafe", error.message);
  if (error instanceof LoadFailure) {
    const { stack } = error.origin === undefined ? { stack: undefined } : describeError(error.origin);
    return spent(owner, error.code, error.message, stack);
  }
  const { message, stack } = describeError(error);
  return spent(owner, "load_failed", `Cannot load the function: ${message}`, stack);
}

const conflict = (message: string): Response =>
  jsonReply(409, { component: "function", reason: "already_specialised", message });

/** Rejects after so long; a module's top-level await may never end. */
async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = startTimer(
      () =>
        reject(
          new LoadFailure(
            "load_timeout",
            `Cannot load the function: its module was not ready after ${ms} ms`,
          ),
        ),
      ms,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    stopTimer(timer);
  }
}

interface LoadPlan {
  readonly tree: CodeTree;
  readonly place: string;
  readonly functionName: string;
  readonly env: Readonly<Record<string, string>>;
  readonly assignment: Assignment;
  readonly secrets: SpecializeRequest["secrets"];
  readonly configMaps: SpecializeRequest["configMaps"];
  readonly timeoutMs: number;
}

async function load(owner: SpecializeOwner, plan: LoadPlan): Promise<void> {
  const { settings, log, pod } = owner;
  const { assignment } = plan;
  const fn = assignment.function;
  log.identify({
    function: fn.name,
    namespace: fn.namespace,
    revision: assignment.revision ?? "",
    pod: settings.podName,
  });
  const temporary = `${settings.root}/tmp`;
  const fixed = { HOME: temporary, TMPDIR: temporary };
  for (const [name, value] of Object.entries({ ...fixed, ...plan.env })) Deno.env.set(name, value);
  owner.seal();
  const handler = await inTime(
    loadHandler(plan.tree, plan.place, plan.functionName, owner.served),
    plan.timeoutMs,
  );
  const facts: FunctionFacts = {
    function: freeze({
      namespace: fn.namespace,
      name: fn.name,
      uid: fn.uid,
      revision: assignment.revision ?? "",
    }),
    env: freeze({ ...plan.env }),
    secrets: mountedText(plan.secrets),
    configs: mountedText(plan.configMaps),
  };
  const invoke = makeInvoke(handler, facts, `${temporary}/.http.sock`, (reason) => {
    const { message, stack } = describeError(reason);
    log.write("error", `Work given to ctx.waitUntil failed: ${message}`, { stack });
  });
  if (pod.state === "specialising") owner.assign(assignment, invoke);
}

function loadTimeout(request: Request): number {
  const given = Number(headersGet(requestHeaders(request), HEADER_TIMEOUT_MS) ?? LOAD_TIMEOUT_MS);
  return given > 0 ? Math.min(given, MAX_LOAD_TIMEOUT_MS) : LOAD_TIMEOUT_MS;
}

/** What nobody has asked for yet is unpacked when the first requests are served. */
function settleLater(owner: SpecializeOwner, tree: CodeTree): void {
  startTimer(() => {
    tree.settle().catch((error: unknown) => owner.log.write("warn", describeError(error).message));
  }, SETTLE_AFTER_MS);
}

async function direct(owner: SpecializeOwner, request: Request): Promise<Response> {
  const arrivedAt = now();
  const { pod, settings } = owner;
  const length = Number(headersGet(requestHeaders(request), "content-length") ?? 0);
  const bytes = await readBody(request, MAX_MESSAGE_BYTES, length);
  if (bytes === null)
    throw new MalformedMessage(`Cannot specialise: the message must have at most ${MAX_MESSAGE_BYTES} bytes`);
  const { request: message, archive } = parseSpecializeMessage(bytes);
  if (message.podUid !== pod.uid) {
    pod.state = "generic";
    return conflict(`Cannot specialise: this is pod "${pod.uid}", not "${message.podUid}"`);
  }
  // From here on what goes wrong is the function's own, and its log is where its author looks.
  const { namespace, name } = message.function;
  owner.log.identify({ function: name, namespace, revision: message.revision, pod: settings.podName });
  owner.log.hide(hiddenTexts(message));
  try {
    const digest = await sha256Hex(archive);
    if (digest !== message.archive.sha256) {
      return spent(
        owner,
        "archive_digest",
        `Cannot specialise: the archive's sha256 is ${digest}, not ${message.archive.sha256}`,
      );
    }
    const place = `${settings.root}/code`;
    const tree = await writeArchive(archive, place);
    writeMounts(settings.root, settings.secrets, message.secrets, 0o400);
    writeMounts(settings.root, settings.configs, message.configMaps, 0o444);
    const folders = {
      ISOTOPE_SECRETS_DIR: `${settings.secrets}/${message.function.namespace}`,
      ISOTOPE_CONFIGS_DIR: `${settings.configs}/${message.function.namespace}`,
    };
    await load(owner, {
      tree,
      place,
      functionName: message.functionName,
      env: { ...message.env, ...folders },
      assignment: {
        revision: message.revision,
        function: message.function,
        limits: message.limits,
        debug: message.debug,
      },
      secrets: message.secrets,
      configMaps: message.configMaps,
      timeoutMs: loadTimeout(request),
    });
    settleLater(owner, tree);
  } catch (error) {
    return spentBy(owner, error);
  }
  return jsonReply(200, { podUid: pod.uid, revision: message.revision, loadMs: now() - arrivedAt });
}

async function reference(owner: SpecializeOwner, request: Request, path: string): Promise<Response> {
  const { settings, pod } = owner;
  let message: ReferenceRequest;
  if (path === "/specialize") {
    message = referenceRequest(
      { filepath: `${settings.userfunc}/user`, functionName: "", envVersion: 1 },
      settings.userfunc,
    );
  } else {
    const bytes = await readBody(request, MAX_REFERENCE_BYTES);
    if (bytes === null)
      throw new MalformedMessage(
        `Cannot specialise: the message must have at most ${MAX_REFERENCE_BYTES} bytes`,
      );
    message = referenceRequest(JSON.parse(new TextDecoder().decode(bytes)), settings.userfunc);
  }
  try {
    await load(owner, {
      ...message,
      tree: diskTree,
      env: {},
      secrets: [],
      configMaps: [],
      timeoutMs: loadTimeout(request),
    });
  } catch (error) {
    spentBy(owner, error);
    const { message: reason } = describeError(error);
    return new Response(reason, { status: 500 });
  }
  return new Response(`Specialised pod "${pod.uid}"\n`, { status: 202 });
}

/** Answers `POST /v2/specialize` (direct, or JSON of the reference system) and `POST /specialize`. */
export async function specialize(owner: SpecializeOwner, request: Request, path: string): Promise<Response> {
  const { pod, settings } = owner;
  const type = (headersGet(requestHeaders(request), "content-type") ?? "").split(";")[0]?.trim();
  const isDirect = path === "/v2/specialize" && type === CONTENT_TYPE;
  // Without a token nobody may specialise directly; with one, nobody without it may specialise in any form.
  if ((isDirect || settings.token !== "") && !hasToken(request, settings.token)) return unauthorized();
  if (pod.state !== "generic") return conflict(`Cannot specialise: the pod is ${pod.state}`);
  pod.state = "specialising";
  try {
    return isDirect ? await direct(owner, request) : await reference(owner, request, path);
  } catch (error) {
    // Only the reading of the message gets here: nothing was changed.
    pod.state = "generic";
    const message = error instanceof Error ? error.message : String(error);
    return badRequest(
      error instanceof MalformedMessage
        ? message
        : `Cannot specialise: the message cannot be read: ${message}`,
    );
  }
}
