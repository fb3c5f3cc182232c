import { readFileSync } from "node:fs";
import { request } from "node:https";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { asPod, type Pod } from "../../localkube/kubelet/pod.ts";
import { type Localkube, startLocalkube } from "../kubectl/start-localkube.ts";
import { isReady, until } from "./open-node.ts";

let cluster: Localkube;
beforeAll(async () => {
  cluster = await startLocalkube();
});
afterAll(() => cluster.stop());

/** One request to the API with the credentials of the kubeconfig. */
function api(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
  const config = parse(readFileSync(cluster.kubeconfig, "utf8"));
  const { server, "certificate-authority-data": ca } = config.clusters[0].cluster;
  const headers = {
    authorization: `Bearer ${config.users[0].user.token}`,
    "content-type": "application/json",
  };
  return new Promise((resolve, reject) => {
    const sent = request(
      `${server}${path}`,
      { method, headers, ca: Buffer.from(ca, "base64"), agent: false },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
        });
        response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    sent.once("error", reject);
    sent.end(body && JSON.stringify(body));
  });
}

const PODS = "/api/v1/namespaces/default/pods";

async function getPod(name: string): Promise<Pod | undefined> {
  const { status, text } = await api("GET", `${PODS}/${name}`);
  return status === 200 ? asPod(JSON.parse(text)) : undefined;
}

async function createPod(name: string, restartPolicy: string): Promise<Pod> {
  const ports = [{ containerPort: 8888 }];
  const readinessProbe = { tcpSocket: { port: 8888 }, periodSeconds: 1 };
  const spec = {
    restartPolicy,
    containers: [{ name: "main", image: "test/serve:1", ports, readinessProbe }],
  };
  const { status, text } = await api("POST", PODS, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec,
  });
  expect(status, text).toBe(201);
  return until(async () => {
    const pod = await getPod(name);
    return isReady(pod) && pod;
  });
}

async function answers(pod: Pod): Promise<boolean> {
  try {
    return (await fetch(`http://${pod.status?.podIP}:8888/`)).status === 200;
  } catch {
    return false;
  }
}

describe("the server's process", () => {
  it("may be killed and started again without touching a running pod", async () => {
    const pod = await createPod("survivor", "Never");
    await cluster.crash();
    expect(await answers(pod)).toBe(true);
    await cluster.restart();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await answers(pod)).toBe(true);
    expect((await getPod("survivor"))?.status).toEqual(pod.status);
    const { text } = await api("GET", `${PODS}/survivor/log`);
    expect(text).toBe("listening\n");
    await api("DELETE", `${PODS}/survivor`);
    await until(async () => (await getPod("survivor")) === undefined);
    expect(await answers(pod)).toBe(false);
  });

  it("started after a death of the whole platform finds no process left and says so in the pods", async () => {
    const bare = await createPod("bare", "Never");
    const kept = await createPod("kept", "Always");
    await cluster.crash(true);
    await until(async () => !(await answers(bare)) && !(await answers(kept)));
    await cluster.restart();
    const failed = await until(async () => {
      const pod = await getPod("bare");
      return pod?.status?.phase === "Failed" && pod;
    });
    expect(failed.status?.containerStatuses?.[0]?.state.terminated?.reason).toBe("NodeRestart");
    const again = await until(async () => {
      const pod = await getPod("kept");
      return pod?.status?.containerStatuses?.[0]?.restartCount === 1 && isReady(pod) && pod;
    });
    expect(await answers(again)).toBe(true);
  });
});
