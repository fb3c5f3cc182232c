import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadKubeConnection } from "./connection.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "isotope-kubeconfig-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const CLUSTERS =
  "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1/prefix/', insecure-skip-tls-verify: true}}]";
const config = (user: string, more = "") =>
  `current-context: one\n${CLUSTERS}\nusers: [{name: u, user: ${user}}]\ncontexts: [{name: one, context: {cluster: c, user: u${more}}}]\n`;

test.each([
  ["{token: abc}", "Bearer abc"],
  ["{username: me, password: pw}", `Basic ${Buffer.from("me:pw").toString("base64")}`],
  ["{tokenFile: token.txt}", "Bearer from-file"],
  ["{}", undefined],
])("user %s", async (user, expected) => {
  write("token.txt", "from-file\n");
  const connection = await loadKubeConnection({
    kubeconfig: write("config", config(user, ", namespace: mine")),
  });
  expect(await connection.authorization()).toBe(expected);
  expect(connection).toMatchObject({ server: "https://127.0.0.1:1/prefix", namespace: "mine" });
  await connection.dispatcher.destroy();
});

test("credential plugins run through the Kubernetes client library", async () => {
  const credential = JSON.stringify({
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: { token: "from-plugin" },
  });
  const user = `{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: echo, args: ['${credential}']}}`;
  const connection = await loadKubeConnection({ kubeconfig: write("config", config(user)) });
  expect(await connection.authorization()).toBe("Bearer from-plugin");
  await connection.dispatcher.destroy();
});

test("several files of $KUBECONFIG are merged, the first that names something wins; --context chooses", async () => {
  const first = write(
    "a",
    "contexts: [{name: two, context: {cluster: c, user: u, namespace: second}}]\nusers: [{name: u, user: {token: first}}]\n",
  );
  const second = write("b", config("{token: second}"));
  const env = { KUBECONFIG: [first, join(folder, "absent"), second].join(":") };
  const chosen = await loadKubeConnection({ env, context: "two" });
  expect(chosen.namespace).toBe("second");
  expect(await chosen.authorization()).toBe("Bearer first");
  const current = await loadKubeConnection({ env });
  expect(current.namespace).toBe("default");
  await Promise.all([chosen.dispatcher.destroy(), current.dispatcher.destroy()]);
});

test.each([
  ["", "it must be a YAML object"],
  ["contexts: []", "it has no current-context"],
  ["current-context: x", 'it has no context "x"'],
  [
    "current-context: x\ncontexts: [{name: x, context: {cluster: none}}]",
    'context "x" names no cluster with a server',
  ],
])("an incomplete kubeconfig is refused by name: %j", async (text, why) => {
  const path = write("config", text);
  await expect(loadKubeConnection({ kubeconfig: path })).rejects.toThrow(
    `Cannot use kubeconfig "${path}": ${why}`,
  );
});

test("no kubeconfig at all", async () => {
  await expect(loadKubeConnection({ kubeconfig: join(folder, "none"), env: {} })).rejects.toThrow(
    "Cannot find a kubeconfig",
  );
});
