import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { type ApiCore, internalWrite, newUid } from "./api/api-core.ts";
import { localStore } from "./api/local-store.ts";
import { Registry } from "./api/registry.ts";
import { createObject } from "./api/write-object.ts";
import { startContentCleaner } from "./gc/content-cleaner.ts";
import { startEventExpiry } from "./gc/event-expiry.ts";
import { startGarbageCollector } from "./gc/garbage-collector.ts";
import type { Service } from "./http/exchange.ts";
import { serveHttps } from "./http/https-server.ts";
import { kubeconfigText, loadIdentity, tokenCheck, writePrivately } from "./http/identity.ts";
import { builtInDefinitions } from "./kinds/built-in.ts";
import { crdDefinition, CRD_STORAGE, registerCustom, unregisterCustom } from "./kinds/custom-definitions.ts";
import { installCrd, readCrds } from "./kinds/load-crds.ts";
import type { Part, RunningPart } from "./part.ts";
import { objectKey, ObjectTable } from "./store/object-table.ts";
import type { Store } from "./store/store.ts";

export interface LocalkubeOptions {
  /** Made if missing; holds the database and the server's identity. */
  dataDir: string;
  /** 0 takes a free port. */
  port: number;
  /** Default 127.0.0.1. */
  host?: string;
  /** Default: `kubeconfig` in the data directory. */
  kubeconfigOut?: string;
  /** Directories with CRDs in YAML, installed before the server answers. */
  crdDirs?: readonly string[];
  /** Namespaces that exist from the start. Default: those of every cluster. */
  namespaces?: readonly string[];
  /** What runs in the server's process: kubelet, controllers. */
  parts?: readonly Part[];
  log?: (message: string) => void;
  /** How often a watch without events gets a sign of life; some clients give up after 30 s. Default 10 s. */
  quietWatchMs?: number;
  /** Called when the disk refused a commit; the process should end. Default: it does. */
  onFatal?: (error: unknown) => void;
}

export interface Localkube {
  url: string;
  kubeconfigPath: string;
  store: Store;
  /** Ends parts, watches and connections, then closes the database. */
  stop(): Promise<void>;
}

export const DEFAULT_NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"] as const;

function endProcess(error: unknown): void {
  process.stderr.write(`localkube: a commit failed, memory and disk differ: ${String(error)}\n`);
  process.exit(1);
}

function openCore(options: LocalkubeOptions): ApiCore {
  const registry = new Registry();
  for (const definition of builtInDefinitions()) registry.add(definition, definition.view === undefined);
  registry.add(crdDefinition());
  const table = new ObjectTable(join(options.dataDir, "state.db"), options.onFatal ?? endProcess);
  const core: ApiCore = { table, registry, nowMs: Date.now, newUid };
  for (const stored of table.list(CRD_STORAGE)) registerCustom(registry, stored.object);
  table.observe((event) => {
    if (event.resource !== CRD_STORAGE) return;
    if (event.type === "DELETED") unregisterCustom(registry, event.current.object);
    else registerCustom(registry, event.current.object);
  });
  return core;
}

async function prepare(core: ApiCore, options: LocalkubeOptions): Promise<void> {
  const namespaces = core.registry.stored("namespaces");
  for (const name of options.namespaces ?? DEFAULT_NAMESPACES) {
    if (!namespaces || core.table.get("namespaces", objectKey(undefined, name))) continue;
    createObject(core, namespaces, undefined, { metadata: { name } }, internalWrite("localkube"));
  }
  for (const directory of options.crdDirs ?? []) {
    for (const crd of readCrds(directory)) installCrd(core, crd);
  }
  await core.table.pending();
}

/** Starts the API server. Rejects when the port is taken, a CRD is invalid or a part cannot start. */
export async function startLocalkube(options: LocalkubeOptions): Promise<Localkube> {
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const host = options.host ?? "127.0.0.1";
  const log = options.log ?? ((message: string) => process.stderr.write(`localkube: ${message}\n`));
  const core = openCore({ ...options, dataDir });
  const stopping = new AbortController();
  const undo: (() => Promise<void> | void)[] = [() => core.table.close()];
  const stop = async (): Promise<void> => {
    stopping.abort();
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    await prepare(core, options);
    const identity = await loadIdentity(dataDir, host);
    const service: Service = {
      core,
      logs: undefined,
      isToken: tokenCheck(identity.token),
      stopping: stopping.signal,
      quietWatchMs: options.quietWatchMs ?? 10_000,
      log,
    };
    undo.push(startGarbageCollector(core, log), startContentCleaner(core, log), startEventExpiry(core));
    const server = await serveHttps(service, identity, host, options.port);
    undo.push(() => server.close());
    const url = `https://${host.includes(":") ? `[${host}]` : host}:${server.port}`;
    const kubeconfigPath = resolve(options.kubeconfigOut ?? join(dataDir, "kubeconfig"));
    writePrivately(kubeconfigPath, kubeconfigText(identity, url));
    const store = localStore(core);
    for (const part of options.parts ?? []) {
      const running: RunningPart = await part({
        store,
        dataDir,
        url,
        kubeconfigPath,
        provideLogs: (logs) => {
          service.logs = logs;
        },
        log,
      });
      undo.push(() => running.stop());
    }
    return { url, kubeconfigPath, store, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
