import { createHash, randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { HEADER_FUNCTION_UID, HEADER_POD, HEADER_REVISION } from "../../api/headers.ts";
import { PodStatus } from "../../api/wire/pod.ts";
import { SPECIALIZE_CONTENT_TYPE, type SpecializeRequest } from "../../api/wire/specialize.ts";
import { type Fetcher, startFetcher } from "../../env-images/fetcher/fetcher.ts";
import type { FetcherSettings } from "../../env-images/fetcher/settings.ts";
import { type PythonRuntime, startPython } from "./python/python-runtime.ts";

/** A Python runtime with a fetcher beside it: a pod of a foreign image. */
export interface FetcherPod {
  readonly uid: string;
  readonly token: string;
  readonly runtime: PythonRuntime;
  readonly fetcher: Fetcher;
  readonly origin: string;
  /** What the fetcher logged. */
  readonly logged: string[];
  specialize(archive: string | Uint8Array, overrides?: Overrides): Promise<Response>;
  /** A request as the router sends it. */
  call(path?: string, init?: RequestInit & { function?: string; revision?: string }): Promise<Response>;
  status(functionUid?: string): Promise<PodStatus>;
  control(call: string, body?: unknown, token?: string): Promise<Response>;
  stop(): Promise<void>;
}

export type Overrides = Partial<Omit<SpecializeRequest, "limits">> & {
  readonly limits?: Partial<SpecializeRequest["limits"]>;
};

export interface FetcherPodOptions {
  readonly settings?: Partial<FetcherSettings>;
  readonly runtimeArgs?: readonly string[];
}

const running = new Set<FetcherPod>();

export async function stopFetcherPods(): Promise<void> {
  await Promise.all([...running].map((pod) => pod.stop()));
}

export async function startFetcherPod(options: FetcherPodOptions = {}): Promise<FetcherPod> {
  const runtime = await startPython(options.runtimeArgs);
  const uid = randomUUID();
  const token = randomUUID();
  const logged: string[] = [];
  const folder = (name: string) => join(runtime.root, name);
  mkdirSync(folder("packages"));
  const settings: FetcherSettings = {
    host: "127.0.0.1",
    port: 0,
    mode: "runtime",
    neighbour: { host: runtime.host, port: runtime.port },
    userfunc: folder("userfunc"),
    secrets: folder("secrets"),
    configs: folder("configs"),
    packages: folder("packages"),
    envVersion: 3,
    keepArchive: false,
    shared: false,
    podUid: uid,
    token,
    ...options.settings,
  };
  const fetcher = await startFetcher(settings, (message) => void logged.push(message));
  const origin = `http://127.0.0.1:${fetcher.port}`;
  const control = (call: string, body?: unknown, given = token) => {
    const [method = "GET", path = "/"] = call.split(" ");
    return fetch(origin + path, {
      method,
      headers: { authorization: `Bearer ${given}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  };
  const pod: FetcherPod = {
    uid,
    token,
    runtime,
    fetcher,
    origin,
    logged,
    control,
    specialize: (archive, overrides) => {
      const bytes = typeof archive === "string" ? Buffer.from(archive) : archive;
      return fetch(`${origin}/v2/specialize`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": SPECIALIZE_CONTENT_TYPE },
        body: message(specializeRequest(uid, bytes, overrides), bytes),
      });
    },
    call: (path = "/", init = {}) => {
      const headers = new Headers(init.headers);
      headers.set(HEADER_POD, uid);
      headers.set(HEADER_REVISION, init.revision ?? "rev-1");
      headers.set(HEADER_FUNCTION_UID, init.function ?? "fn-uid");
      return fetch(origin + path, { ...init, headers, redirect: "manual" });
    },
    status: async (functionUid) => {
      const query = functionUid === undefined ? "" : `?function=${functionUid}`;
      return PodStatus.parse(await (await control(`GET /_isotope/status${query}`)).json());
    },
    stop: async () => {
      running.delete(pod);
      await fetcher.close();
      await runtime.stop();
    },
  };
  running.add(pod);
  await untilReady(origin);
  return pod;
}

async function untilReady(origin: string): Promise<void> {
  for (const until = Date.now() + 60_000; Date.now() < until; await new Promise((go) => setTimeout(go, 10))) {
    const reply = await fetch(`${origin}/readiness-healthz`);
    await reply.body?.cancel();
    if (reply.status === 200) return;
  }
  throw new Error("The fetcher did not become ready");
}

export function specializeRequest(
  podUid: string,
  archive: Uint8Array,
  overrides: Overrides = {},
): SpecializeRequest {
  return {
    podUid,
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

function message(request: SpecializeRequest, archive: Uint8Array): Buffer<ArrayBuffer> {
  const json = Buffer.from(JSON.stringify(request));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, archive]);
}
