import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMPONENTS } from "../../api/components.ts";
import { HEADER_AUTH_AUDIENCE, HEADER_AUTH_DIGEST } from "../../api/headers.ts";
import { FUNCTION_PORT, LABEL_POD_STATE } from "../../api/names.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { type KubeConnection, loadKubeConnection } from "../../kube/connection.ts";
import { type Pod, PODS, SECRETS } from "../../kube/core.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { type KeyRing, keyRing } from "../../net/keys.ts";
import { EMPTY_SHA256, sha256Hex, signer, SKEW_MS } from "../../net/sign.ts";
import { requireInstalledPlatform } from "../e2e/installed-platform.ts";

/**
 * Calls between the platform's processes, made by somebody who got through the walls: the API server's proxy reaches every pod. A call
 * that is not signed, or not for this receiver, time and body, or that was received before, is refused with 401 by each of them.
 */
const NAMESPACE = `internal-calls-${randomBytes(4).toString("hex")}`;
let connection: KubeConnection;
let kube: KubeClient;
let home = "";
let keys: KeyRing;
/** Of the collectors, which hold no other. */
let logKeys: KeyRing;

async function keysOf(component: string): Promise<KeyRing> {
  const labelSelector = `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${component}`;
  const [secret] = (await kube.list(SECRETS, { namespace: home, labelSelector })).items;
  const text = Buffer.from(secret?.data?.["keys"] ?? "", "base64").toString();
  return keyRing(text.split("\n").filter(Boolean));
}

beforeAll(async () => {
  const installed = requireInstalledPlatform();
  const { kubeconfig, platformNamespace, functionNamespaceLabels } = installed;
  home = platformNamespace;
  connection = await loadKubeConnection({ kubeconfig });
  kube = await createKubeClient({ kubeconfig });
  await kube.create(NAMESPACES, { metadata: { name: NAMESPACE, labels: functionNamespaceLabels } });
  keys = await keysOf("signing-key");
  logKeys = await keysOf("log-key");
}, 120_000);
afterAll(async () => {
  await kube.delete(NAMESPACES, { name: NAMESPACE });
  await kube.close();
  await connection.dispatcher.destroy();
});

interface Call {
  readonly method: "GET" | "POST" | "PUT";
  readonly target: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** Calls a port of a pod; resolves to the status. */
async function call(
  { metadata }: Pod,
  port: number,
  { method, target, headers = {}, body }: Call,
): Promise<number> {
  const reply = await connection.dispatcher.request({
    origin: new URL(connection.server).origin,
    path: `/api/v1/namespaces/${metadata.namespace ?? home}/pods/${metadata.name}:${port}/proxy${target}`,
    method,
    headers: body === undefined ? headers : { ...headers, "content-type": "application/json" },
    body: body ?? null,
  });
  await reply.body.dump();
  return reply.statusCode;
}

const podOf = async (namespace: string, labelSelector: string): Promise<Pod> => {
  const { items } = await kube.list(PODS, { namespace, labelSelector });
  const pod = items.find(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined &&
      status?.conditions?.some((one) => one.type === "Ready" && one.status === "True"),
  );
  if (!pod) throw new Error(`No ready pod with ${labelSelector}`);
  return pod;
};

/** A receiver: its port, something to read, and how something is written. */
const CHANGED = '{"a":2}';
const RECEIVERS: readonly (readonly [string, string, string, "POST" | "PUT", string])[] = [
  ["router", "internal", "/fission-function/nowhere/nothing", "POST", "/fission-function/nowhere/nothing"],
  ["executor", "api", "/v2/debug", "POST", "/v2/suspect"],
  ["storage", "api", "/v1/archive?id=sha256:0", "PUT", `/v1/archive?sha256=${sha256Hex(CHANGED)}`],
  ["log-store", "api", "/v1/positions?node=none", "POST", "/v1/pods"],
  ["workflows", "api", "/v1/runs?namespace=nowhere", "POST", "/v1/runs"],
  ["triggers", "api", "/v1/invocations?namespace=nowhere", "POST", "/v1/dlq/purge"],
];

describe.each(RECEIVERS)("5. %s", (name, portName, target, method, writeTarget) => {
  const component = COMPONENTS.find((one) => one.name === name);
  const audience = component?.audience ?? "";
  const port = component?.ports[portName] ?? 0;
  const pod = () => podOf(home, `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${name}`);
  const ring = () => (name === "log-store" ? logKeys : keys);
  const head = { method: "GET", target, bodySha256: EMPTY_SHA256 };
  const sign = (given: Partial<typeof head> = {}, now = Date.now, by = ring(), to = audience) =>
    signer(by, to, { now })({ ...head, ...given });
  const read = (headers: Record<string, string>): Call => ({ method: "GET", target, headers });

  it("takes a call that is signed for it, once", async () => {
    const receiver = await pod();
    const headers = sign();
    expect(await call(receiver, port, read(headers))).not.toBe(401);
    expect(await call(receiver, port, read(headers))).toBe(401);
  });

  it("refuses every other call", async () => {
    const receiver = await pod();
    const later = (byMs: number) => () => Date.now() + byMs;
    const body = '{"a":1}';
    const write = { method, target: writeTarget, bodySha256: sha256Hex(body) };
    const wrong: Record<string, Call> = {
      unsigned: read({}),
      "a bearer token instead": read({ authorization: "Bearer x" }),
      "another key": read(sign({}, Date.now, keyRing([randomBytes(48).toString("hex")]))),
      "another receiver": read(sign({}, Date.now, ring(), "somebody")),
      "another receiver, renamed": read({
        ...sign({}, Date.now, ring(), "somebody"),
        [HEADER_AUTH_AUDIENCE]: audience,
      }),
      "an old call": read(sign({}, later(-SKEW_MS - 5_000))),
      // It is of the future still when a busy machine has brought it.
      "a call of the future": read(sign({}, later(SKEW_MS + 120_000))),
      "another method": read(sign({ method: "DELETE" })),
      "another path": read(sign({ target: `${target}x` })),
      "another body": { method, target: writeTarget, headers: sign(write), body: CHANGED },
      "another body and digest": {
        method,
        target: writeTarget,
        headers: { ...sign(write), [HEADER_AUTH_DIGEST]: sha256Hex(CHANGED) },
        body: CHANGED,
      },
    };
    const answers = await Promise.all(
      Object.entries(wrong).map(async ([title, one]) => [title, await call(receiver, port, one)] as const),
    );
    expect(Object.fromEntries(answers)).toEqual(
      Object.fromEntries(Object.keys(wrong).map((title) => [title, 401])),
    );
  });
});

describe("5. a function pod", () => {
  it("takes no orders without its token, and no request that is not meant for it", async () => {
    let pod: Pod | undefined;
    await expect
      .poll(async () => (pod = await podOf(NAMESPACE, `${LABEL_POD_STATE}=generic`).catch(() => undefined)), {
        timeout: 180_000,
        interval: 250,
      })
      .toBeDefined();
    if (!pod) return;
    const headers = { authorization: "Bearer guess" };
    expect(await call(pod, FUNCTION_PORT, { method: "GET", target: "/_isotope/healthz" })).toBe(200);
    for (const target of ["/_isotope/retire", "/_isotope/drain", "/v2/specialize"])
      for (const given of [{}, headers])
        expect(
          await call(pod, FUNCTION_PORT, { method: "POST", target, headers: given, body: "{}" }),
          target,
        ).toBe(401);
    expect(await call(pod, FUNCTION_PORT, { method: "GET", target: "/_isotope/status", headers })).toBe(401);
    expect(await call(pod, FUNCTION_PORT, { method: "GET", target: "/" })).toBeGreaterThanOrEqual(400);
    expect(await call(pod, FUNCTION_PORT, { method: "GET", target: "/_isotope/healthz" })).toBe(200);
  });
});

describe("5. the operations API", () => {
  const ops = COMPONENTS.find(({ name }) => name === "controller")?.ports["ops"] ?? 0;
  const controller = () =>
    podOf(home, "app.kubernetes.io/name=isotope,app.kubernetes.io/component=controller");
  const target = `/v1/namespaces/${NAMESPACE}/functions/nothing/logs`;

  it("asks for a token", async () => {
    const pod = await controller();
    for (const headers of [{}, { "x-isotope-authorization": "Bearer forged" }])
      expect(await call(pod, ops, { method: "GET", target, headers })).toBe(401);
  });
});
