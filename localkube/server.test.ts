import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApiError } from "./api/api-error.ts";
import type { Part } from "./part.ts";
import { type Localkube, startLocalkube } from "./server.ts";
import type { StoreEvent } from "./store/store.ts";

let directory = "";
let server: Localkube | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "lk-server-"));
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const start = async (options: Partial<Parameters<typeof startLocalkube>[0]> = {}): Promise<Localkube> => {
  server = await startLocalkube({ dataDir: directory, port: 0, log: () => undefined, ...options });
  return server;
};

interface Kubeconfig {
  clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  users: { user: { token: string } }[];
}

const readKubeconfig = (path: string) => {
  const config = JSON.parse(readFileSync(path, "utf8")) as Kubeconfig;
  const ca = Buffer.from(config.clusters[0]?.cluster["certificate-authority-data"] ?? "", "base64");
  return { ca, token: config.users[0]?.user.token ?? "", url: config.clusters[0]?.cluster.server ?? "" };
};

/** Opens a stream and gives its first bytes. */
const firstBytes = (
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const { ca, token, url } = readKubeconfig(server?.kubeconfigPath ?? "");
    const sent = request(
      new URL(path, url),
      { ca, headers: { authorization: `Bearer ${token}`, ...headers } },
      (message) => {
        message.once("data", (chunk: Buffer) => {
          resolve({ status: message.statusCode ?? 0, text: chunk.toString() });
          message.destroy();
        });
      },
    );
    sent.on("upgrade", () => reject(new Error("upgraded")));
    sent.on("error", reject);
    sent.end();
  });

test("the kubeconfig is for its owner alone, and the identity lasts", async () => {
  const first = await start();
  expect(statSync(first.kubeconfigPath).mode & 0o777).toBe(0o600);
  const { token, ca } = readKubeconfig(first.kubeconfigPath);
  await first.stop();
  const second = await start();
  const again = readKubeconfig(second.kubeconfigPath);
  expect(again.token).toBe(token);
  expect(again.ca).toEqual(ca);
});

test("a quiet watch gets bookmarks or blank lines", async () => {
  await start({ quietWatchMs: 20 });
  const marked = await firstBytes("/api/v1/secrets?watch=true&allowWatchBookmarks=true");
  expect(JSON.parse(marked.text)).toMatchObject({ type: "BOOKMARK", object: { kind: "Secret" } });
  const plain = await firstBytes("/api/v1/secrets?watch=true");
  expect(plain.text).toBe("\n");
});

test("an upgrade is answered with a Status", async () => {
  await start();
  const answer = await firstBytes("/api/v1/namespaces/default/pods/p/exec?command=ls", {
    connection: "Upgrade",
    upgrade: "SPDY/3.1",
  });
  expect(answer.status).toBe(405);
  expect(JSON.parse(answer.text)).toMatchObject({ kind: "Status", reason: "MethodNotAllowed" });
});

describe("the store inside the process", () => {
  test("writes are seen by watches after they are stored, once each", async () => {
    const { store } = await start();
    const events: StoreEvent[] = [];
    const end = store.watch("configmaps", undefined, (event) => events.push(event));
    const made = await store.create("configmaps", { metadata: { name: "a", namespace: "default" } });
    await store.patch("configmaps", "default", "a", { data: { x: "1" } });
    await store.delete("configmaps", "default", "a");
    end();
    await store.create("configmaps", { metadata: { name: "b", namespace: "default" } });
    expect(events.map((event) => event.type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
    expect(events[0]?.object.metadata.uid).toBe(made.metadata.uid);
  });

  test("a watch from undefined shows what there is, also what is being written", async () => {
    const { store } = await start();
    await store.create("configmaps", { metadata: { name: "old", namespace: "default" } });
    const pending = store.create("configmaps", { metadata: { name: "new", namespace: "default" } });
    const names: string[] = [];
    const end = store.watch("configmaps", undefined, (event) => names.push(event.object.metadata.name));
    await pending;
    end();
    expect(names.sort()).toEqual(["new", "old"]);
  });

  test("refuses what a client would be refused", async () => {
    const { store } = await start();
    const refusal = await store
      .create("pods", { metadata: { name: "p", namespace: "default" }, spec: { containers: [] } })
      .catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ApiError);
    expect(refusal).toMatchObject({ code: 422, reason: "Invalid" });
    await expect(store.delete("pods", "default", "p")).rejects.toMatchObject({ code: 404 });
    await expect(store.create("nothings", { metadata: { name: "n" } })).rejects.toMatchObject({ code: 404 });
    expect(() => store.watch("pods", "1", () => undefined)).toThrow(expect.objectContaining({ code: 410 }));
  });

  test("what a part provides as logs answers /log", async () => {
    const part: Part = async (context) => {
      context.provideLogs({
        open: async (_pod, options) =>
          (async function* () {
            yield Buffer.from(`${options.container} ${options.tailLines} ${options.follow}\n`);
          })(),
      });
      return { stop: async () => undefined };
    };
    const { store } = await start({ parts: [part] });
    await store.create("pods", {
      metadata: { name: "p", namespace: "default" },
      spec: { containers: [{ name: "c", image: "x" }] },
    });
    const answer = await firstBytes("/api/v1/namespaces/default/pods/p/log?tailLines=5&follow=true");
    expect(answer).toEqual({ status: 200, text: "c 5 true\n" });
  });
});

test("a failing part leaves nothing running", async () => {
  const failing: Part = async () => {
    throw new Error("no part");
  };
  await expect(start({ parts: [failing] })).rejects.toThrow("no part");
  await expect(start()).resolves.toBeTruthy();
});
