import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PAYLOADS_AUDIENCE } from "../../../api/wire/payloads.ts";
import { openLocalPayloadStore } from "../../../engine/storage/payload-store.ts";
import { keyRingFromFile } from "../../../net/keys.ts";
import { type Payloads, payloads, storageKeeper } from "../../../net/payloads.ts";
import { type SignedClient, signedClient } from "../../../net/signed-client.ts";
import { freePortBase } from "../../e2e/free-ports.ts";
import { answersOk, testedProcess } from "../../logs/processes.ts";

/** Payloads in a folder of this process. */
export async function payloadsIn(folder: string, now?: () => number): Promise<Payloads> {
  const store = await openLocalPayloadStore(folder);
  return payloads({ ...store, put: (payload, content) => store.put(payload, [content]) }, now);
}

/** A storage process of a test's own. */
export interface TestStorage {
  readonly folder: string;
  readonly url: string;
  readonly client: SignedClient;
  payloads(now?: () => number): Payloads;
  /** Sizes of what is stored, in any order. */
  sizes(): number[];
  kill(): Promise<void>;
  start(): Promise<void>;
  remove(): Promise<void>;
}

export async function startStorage(): Promise<TestStorage> {
  const home = mkdtempSync(join(tmpdir(), "isotope-large-"));
  const folder = join(home, "storage");
  const keyFile = join(home, "key");
  writeFileSync(keyFile, "0123456789abcdef0123456789abcdef\n");
  // It comes back on its port: that is not one which others are given meanwhile.
  const port = await freePortBase();
  const url = `http://127.0.0.1:${port}`;
  const child = testedProcess(
    "test/triggers/invocations/storage-child",
    { folder, port, "key-file": keyFile },
    answersOk(`${url}/healthz`),
  );
  await child.start();
  const client = signedClient({
    keys: keyRingFromFile(keyFile),
    origin: url,
    audience: PAYLOADS_AUDIENCE,
    unavailable: "storage_unavailable",
  });
  return {
    folder,
    url,
    client,
    payloads: (now) => payloads(storageKeeper(client), now),
    sizes: () =>
      readdirSync(join(folder, "payloads"), { recursive: true, encoding: "utf8" })
        .map((name) => /\.(\d+)\.[0-9a-f]{64}$/.exec(name)?.[1])
        .filter((size) => size !== undefined)
        .map(Number),
    kill: () => child.kill(),
    start: () => child.start(),
    remove: async () => {
      await client.close();
      await child.kill();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
