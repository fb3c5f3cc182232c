import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LABEL_FUNCTION_NAME } from "../../api/names.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { DEPLOYMENTS, PODS, REPLICA_SETS } from "../../kube/core.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

/** How pods are had and how many, from the command line to the answer, with the routers' own reports of load. */
const PROJECT: Record<string, string> = {
  "steady.ts": `
export const config = { executor: "newdeploy", minPods: 1 };
export default () => new Response("one");`,
  "lazy.ts": `
export const config = { executor: "newdeploy", idleTimeout: 3 };
export default () => new Response("lazy");`,
  "loaded.ts": `
export const config = { requestsPerPod: 4, maxPods: 2 };
const pod = crypto.randomUUID();
export default async () => {
  await new Promise((go) => setTimeout(go, 300));
  return new Response(pod);
};`,
};

let platform: TestPlatform;
let kube: KubeClient;
let folder: string;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  folder = await deploy(platform, PROJECT);
}, 300_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

const ofFunction = (name: string) => ({
  namespace: platform.namespace,
  labelSelector: `${LABEL_FUNCTION_NAME}=${name}`,
});
const podsOf = async (name: string): Promise<number> =>
  (await kube.list(PODS, ofFunction(name))).items.filter(({ metadata }) => !metadata.deletionTimestamp)
    .length;

it("newdeploy: a new revision takes over under constant traffic without a failed request", async () => {
  await asserted(async () => expect(await podsOf("steady")).toBe(1));
  const seen: string[] = [];
  const failed: string[] = [];
  const enough = new AbortController();
  const calling = (async () => {
    while (!enough.signal.aborted) {
      const reply = await platform.get("/steady").catch((error: unknown) => String(error));
      if (typeof reply === "string") failed.push(reply);
      else if (reply.status === 200) seen.push(await reply.text());
      else failed.push(`${reply.status} ${await reply.text()}`);
      await new Promise((go) => setTimeout(go, 20));
    }
  })();
  await asserted(async () => expect(seen).toContain("one"));
  writeFileSync(
    join(folder, "functions", "steady.ts"),
    (PROJECT["steady.ts"] ?? "").replace('"one"', '"two"'),
  );
  expect((await platform.cli(["deploy", folder])).code).toBe(0);
  await asserted(async () => expect(seen.at(-1)).toBe("two"));
  enough.abort();
  await calling;
  expect(failed).toEqual([]);
  expect(seen.lastIndexOf("one")).toBeLessThan(seen.indexOf("two"));
  await asserted(async () => {
    const fn = await kube.get(FUNCTIONS, { namespace: platform.namespace, name: "steady" });
    const found = fn.status?.conditions?.find(({ type }) => type === "PodsReady");
    expect(found?.message).toContain(fn.status?.serving?.revision);
    expect(found?.status).toBe("True");
  });
}, 400_000);

it("newdeploy without MinScale starts at its first call and ends when nobody calls", async () => {
  expect((await kube.list(DEPLOYMENTS, ofFunction("lazy"))).items).toEqual([]);
  expect(await (await platform.get("/lazy")).text()).toBe("lazy");
  await asserted(async () => {
    // Called again, so that it is not idle before it is seen.
    expect(await (await platform.get("/lazy")).text()).toBe("lazy");
    expect(await podsOf("lazy")).toBe(1);
  });
  await asserted(async () => expect(await podsOf("lazy")).toBe(0), 120_000);
  expect(await (await platform.get("/lazy")).text()).toBe("lazy");
}, 400_000);

it("auto: what waits has a second pod, and no more than MaxScale, which the ReplicaSet keeps", async () => {
  const enough = new AbortController();
  const pods = new Set<string>();
  const statuses = new Set<number>();
  const caller = async () => {
    while (!enough.signal.aborted) {
      const reply = await platform.get("/loaded");
      statuses.add(reply.status);
      pods.add(await reply.text());
    }
  };
  const calling = Array.from({ length: 8 }, caller);
  await asserted(async () => {
    const [set] = (await kube.list(REPLICA_SETS, ofFunction("loaded"))).items;
    expect(set?.spec.replicas).toBe(2);
    expect(pods.size).toBe(2);
  });
  enough.abort();
  await Promise.all(calling);
  expect([...statuses]).toEqual([200]);
  await asserted(async () => expect(await podsOf("loaded")).toBe(2));
}, 300_000);
