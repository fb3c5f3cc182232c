import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { PAYLOADS_AUDIENCE } from "../../api/wire/payloads.ts";
import { storageArchives as controllerArchives, storageUse } from "../../controller/storage-client.ts";
import { storageArchives as executorArchives } from "../../engine/executor/archive-client.ts";
import { PACKAGES } from "../../kube/kinds.ts";
import { openStore } from "../../engine/storage/open-store.ts";
import { STORAGE_SETTINGS } from "../../engine/storage/settings.ts";
import { keyRingFromFile } from "../../net/keys.ts";
import { payloads, storageKeeper } from "../../net/payloads.ts";
import { processLog } from "../../net/log.ts";
import { parseSettings } from "../../net/settings.ts";
import { signer } from "../../net/sign.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { type KubeServer, startKube } from "../controller/platform.ts";
import { freePortBase } from "../e2e/free-ports.ts";
import { answersOk, type TestedProcess, testedProcess } from "../logs/processes.ts";
import { S3_SERVER, type S3Server, startS3Server } from "./s3-server.ts";
import { eventually } from "../eventually.ts";

interface Running {
  readonly process: TestedProcess;
  readonly client: SignedClient;
  readonly url: string;
  readonly metricsUrl: string;
}

let home: string;
let kube: KubeServer;
const clients: SignedClient[] = [];
const processes: TestedProcess[] = [];

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "isotope-storage-process-"));
  writeFileSync(join(home, "key"), "0123456789abcdef0123456789abcdef\n");
  kube = await startKube();
});
afterAll(async () => {
  for (const client of clients) await client.close();
  for (const one of processes) await one.kill();
  await kube.stop();
  rmSync(home, { recursive: true, force: true });
});

/** `ready`: the path that says that it can be used. */
async function startStorage(
  flags: Readonly<Record<string, string | boolean>>,
  ready = "/readyz",
): Promise<Running> {
  // It comes back on its ports: those are not ones which others are given meanwhile.
  const port = await freePortBase();
  const metricsPort = port + 1;
  const metricsUrl = `http://127.0.0.1:${metricsPort}`;
  const process = testedProcess(
    "engine/storage/main",
    {
      host: "127.0.0.1",
      port,
      "metrics-host": "127.0.0.1",
      "metrics-port": metricsPort,
      kubeconfig: kube.localkube.kubeconfigPath,
      namespace: "default",
      "internal-key-file": join(home, "key"),
      ...flags,
    },
    answersOk(metricsUrl + ready),
  );
  processes.push(process);
  await process.start();
  const url = `http://127.0.0.1:${port}`;
  const keys = keyRingFromFile(join(home, "key"));
  const client = signedClient({ keys, origin: url, audience: "storage", unavailable: "archive_unavailable" });
  clients.push(client);
  return { process, client, url, metricsUrl };
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof PlatformError ? error.code : String(error)),
  );

async function createPackage(name: string, digest: string): Promise<void> {
  await kube.client.create(PACKAGES, {
    apiVersion: API_GROUP_VERSION,
    kind: "Package",
    metadata: { name: `${name}-${digest.slice(0, 8)}`, namespace: "other" },
    spec: {
      environment: { name: "deno", namespace: "other" },
      deployment: {
        type: "url",
        url: `http://storage/v1/archive?id=sha256:${digest}`,
        checksum: { type: "sha256", sum: digest },
      },
    },
  });
}

async function keepsArchives({ client, process }: Running): Promise<void> {
  const bytes = randomBytes(200_000);
  // Named, so that pruning leaves it.
  await createPackage("kept", sha256(bytes));
  const { archive } = await controllerArchives(client).put(Readable.from([bytes]));
  expect(archive).toEqual({ digest: sha256(bytes), sizeBytes: bytes.length });
  expect(await controllerArchives(client).find(archive.digest)).toEqual({ sizeBytes: bytes.length });
  await process.kill();
  expect(await codeOf(executorArchives(client, 2 ** 20).read(archive.digest))).toBe("archive_unavailable");
  await process.start();
  expect(bytes.equals(await executorArchives(client, 2 ** 20).read(archive.digest))).toBe(true);
  expect((await buffer(await controllerArchives(client).open(archive.digest))).equals(bytes)).toBe(true);
  expect(await storageUse(client)).toEqual({ count: 1, bytes: bytes.length });
}

async function keepsPayloads({ url, process, metricsUrl }: Running): Promise<void> {
  const caller = signedClient({
    keys: keyRingFromFile(join(home, "key")),
    origin: url,
    audience: PAYLOADS_AUDIENCE,
    unavailable: "storage_unavailable",
  });
  clients.push(caller);
  const kept = payloads(storageKeeper(caller));
  const bytes = randomBytes(400_000);
  const ref = await kept.put("default", bytes, 3_600_000);
  await process.kill();
  expect(await codeOf(kept.read(ref))).toBe("storage_unavailable");
  await process.start();
  expect((await kept.read(ref))?.equals(bytes)).toBe(true);
  const longer = (await kept.keep(ref, 10 * 24 * 3_600_000)) ?? "";
  expect(longer).not.toBe(ref);
  await kept.remove(ref);
  expect(await kept.read(ref)).toBeUndefined();
  expect((await kept.read(longer))?.equals(bytes)).toBe(true);
  // Counted by the look at its start.
  await eventually(
    async () => (await fetch(`${metricsUrl}/metrics`)).text(),
    (text) => /isotope_storage_payload_bytes 400000\b/.test(text),
    60_000,
  );
  await kept.remove(longer);
}

describe("the storage process on a folder", () => {
  let storage: Running;
  beforeAll(async () => {
    const folder = join(home, "archives");
    storage = await startStorage({ folder, "prune-interval": "1s", "prune-grace": "2s" });
  });

  test("answers controller and executor, and keeps archives over kill -9", async () => {
    await keepsArchives(storage);
  }, 300_000);

  test("keeps payloads over kill -9, beside archives", async () => {
    await keepsPayloads(storage);
  }, 300_000);

  test("an archive that nothing names goes; one that a Package names stays", async () => {
    const archives = controllerArchives(storage.client);
    const [named, nameless] = [randomBytes(100), randomBytes(100)];
    await createPackage("named", sha256(named));
    for (const bytes of [named, nameless]) await archives.put(Readable.from([bytes]));
    await eventually(
      async () => archives.find(sha256(nameless)),
      (found) => found === undefined,
      60_000,
    );
    expect(await archives.find(sha256(named))).toEqual({ sizeBytes: 100 });
    // Counted at the end of the pass that the archive went in.
    const metrics = await eventually(
      async () => (await fetch(`${storage.metricsUrl}/metrics`)).text(),
      (text) => /isotope_storage_pruned_total [1-9]/.test(text),
      60_000,
    );
    expect(metrics).toMatch(/isotope_storage_calls_total\{method="PUT",status="201"\} 2/);
  }, 300_000);

  test("calls that are unsigned, for another receiver, or sent twice get 401", async () => {
    const target = "/v1/archive";
    expect((await fetch(storage.url + target)).status).toBe(401);
    const keys = keyRingFromFile(join(home, "key"));
    const head = { method: "GET", target, bodySha256: sha256(Buffer.alloc(0)) };
    expect((await fetch(storage.url + target, { headers: signer(keys, "executor")(head) })).status).toBe(401);
    const headers = signer(keys, "storage")(head);
    const first = await fetch(storage.url + target, { headers });
    expect([first.status, (await fetch(storage.url + target, { headers })).status]).toEqual([200, 401]);
    expect((await fetch(`${storage.url}/healthz`)).status).toBe(200);
  });

  test("SIGTERM ends it cleanly", async () => {
    await storage.process.kill("SIGTERM");
    // What it has written is read a moment after its end.
    await expect.poll(() => storage.process.output()).toContain("Draining");
    await storage.process.start();
  });
});

describe.skipIf(S3_SERVER === undefined)("the storage process on an S3-compatible server", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3Server();
  });
  afterAll(() => server.stop());

  test("answers controller and executor, keeps archives over kill -9, and is not ready while the bucket is gone", async () => {
    const bucket = await server.newBucket();
    const { id, secret } = server.credentialFiles;
    const flags = {
      backend: "s3",
      "s3-bucket": bucket.name,
      "s3-endpoint": server.endpoint,
      "s3-path-style": true,
      "s3-access-key-file": id,
      "s3-secret-key-file": secret,
      "spool-folder": join(home, "spool"),
    };
    const storage = await startStorage(flags, "/healthz");
    const readiness = async (): Promise<number> => (await fetch(`${storage.metricsUrl}/readyz`)).status;
    await keepsArchives(storage);
    await keepsPayloads(storage);
    await storage.process.kill();
    await server.kill();
    await storage.process.start();
    const reply = await fetch(`${storage.metricsUrl}/readyz`);
    expect([reply.status, await reply.text()]).toEqual([503, expect.stringContaining(bucket.name)]);
    await server.start();
    await eventually(readiness, (status) => status === 200, 60_000);
  }, 300_000);
});

test.each([
  [["--backend", "s3", "--s3-bucket", "x", "--s3-access-key-file", "/x"], "go together"],
  [["--backend", "s3"], "needs --s3-bucket"],
])("settings %j are refused", async (flags, why) => {
  const argv = ["--internal-key-file", "/key", ...flags];
  const settings = parseSettings(STORAGE_SETTINGS, { argv, env: {} });
  await expect(openStore(settings, processLog("test"))).rejects.toThrow(why);
});
