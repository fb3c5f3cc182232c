import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { POD_ENV } from "../../api/wire/pod.ts";
import { SPECIALIZE_CONTENT_TYPE, type SpecializeRequest } from "../../api/wire/specialize.ts";
import { denoFlags } from "../../env-images/deno/flags.ts";
import { freePortBase } from "../e2e/free-ports.ts";

const LOOPBACK = "127.0.0.1";
const REPOSITORY = join(import.meta.dirname, "../..");
export const DENO = join(REPOSITORY, "node_modules/deno/deno");
const MAIN = join(REPOSITORY, "env-images/deno/main.ts");

export interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly msg: string;
  readonly function: string;
  readonly namespace: string;
  readonly revision: string;
  readonly pod: string;
  readonly requestId?: string;
  readonly stack?: string;
}

export interface DenoPod {
  readonly uid: string;
  readonly token: string;
  readonly root: string;
  readonly host: string;
  readonly port: number;
  readonly address: string;
  readonly process: ChildProcess;
  /** All that came out, stdout and stderr. */
  output(): string;
  /** The lines of stdout that are JSON. */
  lines(): LogLine[];
  /** Resolves with the line once one passes the test; rejects after 30 s. */
  line(test: (line: LogLine) => boolean): Promise<LogLine>;
  /** Exit code, once the process has ended. */
  readonly exited: Promise<number | null>;
  stop(): Promise<void>;
}

/** What is free now; only on an address that nobody else uses it stays so. */
export async function freePort(host = LOOPBACK): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, host, resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("Cannot find a free port");
  return address.port;
}

export interface DenoPodOptions {
  readonly host?: string;
  readonly denyNet?: readonly string[];
  /** False: no pod token, as beside the reference system's fetcher. */
  readonly direct?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Undefined: 128. Null: what DENO_V8_FLAGS says. */
  readonly memoryMb?: number | null;
}

const running = new Set<DenoPod>();

/** Ends every pod that a test left behind. */
export async function stopPods(): Promise<void> {
  await Promise.all([...running].map((pod) => pod.stop()));
}

/** Starts a generic pod and waits until it is ready. */
export async function startPod(options: DenoPodOptions = {}): Promise<DenoPod> {
  const { host = LOOPBACK, denyNet = [], direct = true, memoryMb = 128 } = options;
  const root = mkdtempSync(join(tmpdir(), "isotope-pod-"));
  // On the common address others take free ports all the time, also between this choice and the pod's start.
  const port = host === LOOPBACK ? await freePortBase() : await freePort(host);
  const uid = randomUUID();
  const token = direct ? randomUUID() : "";
  const flags = denoFlags({ root, denyNet, ...(memoryMb === null ? {} : { memoryMb }) });
  const child = spawn(DENO, [...flags, MAIN, "--host", host, "--port", String(port), "--root", root], {
    env: {
      DENO_DIR: join(REPOSITORY, "node_modules/.cache/deno-env"),
      [POD_ENV.podUid]: uid,
      [POD_ENV.podName]: "pod-1",
      [POD_ENV.namespace]: "default",
      ...(direct ? { [POD_ENV.token]: token } : {}),
      ...options.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  const lines = (): LogLine[] =>
    stdout.split("\n").flatMap((text) => {
      try {
        const line: unknown = JSON.parse(text);
        return typeof line === "object" && line !== null && "msg" in line ? [line as LogLine] : [];
      } catch {
        return [];
      }
    });
  const pod: DenoPod = {
    uid,
    token,
    root,
    host,
    port,
    address: `http://${host}:${port}`,
    process: child,
    output: () => stdout + stderr,
    lines,
    line: async (test) => {
      for (
        const until = Date.now() + 30_000;
        Date.now() < until;
        await new Promise((go) => setTimeout(go, 10))
      ) {
        const found = lines().find(test);
        if (found !== undefined) return found;
      }
      throw new Error(`Cannot find the log line in: ${stdout}${stderr}`);
    },
    exited,
    stop: async () => {
      running.delete(pod);
      child.kill("SIGKILL");
      await exited;
      rmSync(root, { recursive: true, force: true });
    },
  };
  running.add(pod);
  await untilReady(pod);
  return pod;
}

async function untilReady(pod: DenoPod): Promise<void> {
  for (const until = Date.now() + 60_000; Date.now() < until; await new Promise((go) => setTimeout(go, 10))) {
    if (pod.process.exitCode !== null) break;
    const reply = await fetch(`${pod.address}/_isotope/healthz`).catch(() => null);
    await reply?.body?.cancel();
    if (reply?.status === 200) return;
  }
  throw new Error(`The pod did not become ready: ${pod.output()}`);
}

export type SpecializeOverrides = Partial<Omit<SpecializeRequest, "limits">> & {
  readonly limits?: Partial<SpecializeRequest["limits"]>;
};

/** A complete message for the pod and the archive. */
export function specializeRequest(
  pod: DenoPod,
  archive: Uint8Array,
  overrides: SpecializeOverrides = {},
): SpecializeRequest {
  return {
    podUid: pod.uid,
    revision: "rev-1",
    function: { namespace: "default", name: "hello", uid: "fn-uid", resourceVersion: "1" },
    functionName: "",
    archive: { sha256: createHash("sha256").update(archive).digest("hex"), sizeBytes: archive.length },
    env: {},
    secrets: [],
    configMaps: [],
    debug: false,
    ...overrides,
    limits: {
      requestsPerPod: 100,
      onceOnly: false,
      timeoutMs: 0,
      maxBodyBytes: 1 << 30,
      ...overrides.limits,
    },
  };
}

/** The message in its binary framing. */
export function frame(message: unknown, archive: Uint8Array): Buffer<ArrayBuffer> {
  const json = Buffer.from(JSON.stringify(message));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, archive]);
}

/** Sends a body to the specialise address. */
export function postSpecialize(
  pod: DenoPod,
  body: Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${pod.address}/v2/specialize`, {
    method: "POST",
    headers: { authorization: `Bearer ${pod.token}`, "content-type": SPECIALIZE_CONTENT_TYPE, ...headers },
    body,
  });
}

/** Specialises with a source text or an archive. */
export function specialize(
  pod: DenoPod,
  code: string | Uint8Array,
  overrides: SpecializeOverrides = {},
): Promise<Response> {
  const archive = typeof code === "string" ? Buffer.from(code) : code;
  return postSpecialize(pod, frame(specializeRequest(pod, archive, overrides), archive));
}

/** A user request as the router sends it. */
export function call(
  pod: DenoPod,
  path = "/",
  init: RequestInit & { duplex?: "half" } = {},
): Promise<Response> {
  const headers = new Headers(init.headers);
  if (!headers.has("x-isotope-pod")) headers.set("x-isotope-pod", pod.uid);
  if (!headers.has("x-isotope-revision")) headers.set("x-isotope-revision", "rev-1");
  return fetch(pod.address + path, { ...init, headers, redirect: "manual" });
}

/** A control call. */
export function controlCall(
  pod: DenoPod,
  call: string,
  body?: unknown,
  token = pod.token,
): Promise<Response> {
  const [method = "GET", path = "/"] = call.split(" ");
  return fetch(pod.address + path, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** A specialised pod, or an error with the reply and the log. */
export async function startFunction(
  code: string | Uint8Array,
  overrides: SpecializeOverrides = {},
  options: DenoPodOptions = {},
): Promise<DenoPod> {
  const pod = await startPod(options);
  const reply = await specialize(pod, code, overrides);
  const text = await reply.text();
  if (reply.status !== 200) throw new Error(`Cannot specialise: ${reply.status} ${text}\n${pod.output()}`);
  return pod;
}

/** A reply's JSON object. */
export async function json(reply: Response): Promise<Record<string, unknown>> {
  const body: unknown = await reply.json();
  if (typeof body !== "object" || body === null)
    throw new TypeError(`Not an object: ${JSON.stringify(body)}`);
  return { ...body };
}
