import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isReady, type Node, openNode, serverContainer, until } from "./open-node.ts";

let node: Node;
beforeAll(async () => {
  node = await openNode();
});
afterAll(() => node.close());

const container = (name: string) => node.pod(name)?.status?.containerStatuses?.[0];
const ready = (name: string) => until(() => isReady(node.pod(name)));
const pidOf = async (name: string): Promise<number> => JSON.parse(await (await node.ask(name)).text()).pid;
const sleeper = { name: "main", image: "fixed" };

/** Kills the shim that runs the pods, by way of the parent of one of their processes. */
function killShim(pid: number): void {
  process.kill(Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[3]), "SIGKILL");
}

describe("a restart of the kubelet", () => {
  it("leaves running pods alone and goes on with them", async () => {
    await node.createPod("stays", { containers: [serverContainer()] });
    await ready("stays");
    const pid = await pidOf("stays");
    const before = node.pod("stays");
    await node.restartKubelet();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(await pidOf("stays")).toBe(pid);
    expect(node.pod("stays")?.status).toEqual(before?.status);
    await node.ask("stays", "/fail");
    await until(() => !isReady(node.pod("stays")));
    await node.store.delete("pods", "default", "stays");
    await until(() => !node.pod("stays"));
  });

  it("learns of ends, deletions and new pods that came while it was away", async () => {
    await node.createPod("ends", {
      restartPolicy: "Never",
      containers: [
        { name: "main", image: "sh", args: ["while [ ! -f $HOME/go ]; do sleep 0.05; done; exit 4"] },
      ],
    });
    await node.createPod("deleted", { containers: [sleeper] });
    await node.createPod("forced", { containers: [serverContainer()] });
    await ready("deleted");
    await ready("forced");
    await until(() => container("ends")?.state.running);
    const pid = await pidOf("forced");
    await node.kubelet.stop();
    writeFileSync(
      join(node.home, "pods", node.pod("ends")?.metadata.uid ?? "", "containers", "main", "home", "go"),
      "",
    );
    await node.store.delete("pods", "default", "deleted");
    await node.store.delete("pods", "default", "forced", { gracePeriodSeconds: 0 });
    await node.createPod("new", { containers: [sleeper] });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(container("ends")?.state.running).toBeDefined();
    await node.restartKubelet();
    await until(() => node.pod("ends")?.status?.phase === "Failed");
    expect(container("ends")?.state.terminated).toMatchObject({ exitCode: 4, reason: "Error" });
    await until(() => !node.pod("deleted"));
    await ready("new");
    await until(() => !existsSync(`/proc/${pid}`));
  });

  it("keeps counting restarts", async () => {
    await node.createPod("counted", { containers: [serverContainer()] });
    await ready("counted");
    await node.ask("counted", "/exit?1").catch(() => undefined);
    await until(() => container("counted")?.restartCount === 1 && isReady(node.pod("counted")));
    await node.restartKubelet();
    await node.ask("counted", "/exit?1").catch(() => undefined);
    await until(() => container("counted")?.restartCount === 2 && isReady(node.pod("counted")));
  });
});

describe.runIf(process.platform === "linux")("a loss of all processes", () => {
  it("while the kubelet runs ends pods by their restart policy", async () => {
    await node.createPod("never", { restartPolicy: "Never", containers: [serverContainer()] });
    await node.createPod("always", { containers: [serverContainer()] });
    await ready("never");
    await ready("always");
    const pid = await pidOf("always");
    killShim(pid);
    await until(() => node.pod("never")?.status?.phase === "Failed");
    await until(() => container("always")?.restartCount === 1 && isReady(node.pod("always")));
    expect(await pidOf("always")).not.toBe(pid);
    expect(node.logs.some((line) => line.includes("the process shim has ended"))).toBe(true);
  });

  it("while the kubelet is away is told as a restart of the node", async () => {
    await node.createPod("bare", { restartPolicy: "Never", containers: [serverContainer()] });
    await node.createPod("kept", { containers: [serverContainer()] });
    await ready("bare");
    await ready("kept");
    const before = node.pod("kept")?.status?.podIP;
    const pid = await pidOf("kept");
    await node.kubelet.stop();
    killShim(pid);
    await until(() => !existsSync(`/proc/${pid}`));
    await node.restartKubelet();
    await until(() => node.pod("bare")?.status?.phase === "Failed");
    expect(container("bare")?.state.terminated).toMatchObject({ exitCode: 137, reason: "NodeRestart" });
    await until(() => container("kept")?.restartCount === 1 && isReady(node.pod("kept")));
    expect(container("kept")?.lastState.terminated).toMatchObject({ reason: "NodeRestart" });
    expect(node.pod("kept")?.status?.podIP).not.toBe(before);
  });

  it("removes folders of pods that are gone", async () => {
    await node.createPod("orphan", { containers: [sleeper] });
    await ready("orphan");
    const folder = join(node.home, "pods", node.pod("orphan")?.metadata.uid ?? "");
    await node.kubelet.stop();
    await node.store.delete("pods", "default", "orphan", { gracePeriodSeconds: 0 });
    expect(existsSync(folder)).toBe(true);
    await node.restartKubelet();
    await until(() => !existsSync(folder));
  });
});

describe("addresses", () => {
  it("are given again when the range is small, never twice at a time", async () => {
    const small = await openNode({ podCidr: "127.99.7.0/29" });
    const names = Array.from({ length: 8 }, (_, index) => `p${index}`);
    await Promise.all(names.map((name) => small.createPod(name, { containers: [sleeper] })));
    const placed = (): (string | undefined)[] =>
      names.filter((name) => isReady(small.pod(name))).map((name) => small.pod(name)?.status?.podIP);
    await until(() => placed().length === 6);
    expect(new Set(placed()).size).toBe(6);
    const waiting = names.filter((name) => !isReady(small.pod(name)));
    await until(() =>
      small.events(waiting[0] ?? "").some((text) => text.includes("all 6 of 127.99.7.0/29 are in use")),
    );
    for (const name of names.filter((one) => isReady(small.pod(one))).slice(0, 2))
      await small.store.delete("pods", "default", name);
    await until(() => waiting.every((name) => isReady(small.pod(name))));
    await small.close();
  });

  it("are ports of 127.0.0.1 where there are no others", async () => {
    const shared = await openNode({ podCidr: undefined, controllers: true });
    await shared.store.create("services", {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: "default" },
      spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8888 }] },
    });
    for (const name of ["a", "b"])
      await shared.createPod(name, { containers: [serverContainer()] }, { labels: { app: "web" } });
    await until(() => ["a", "b"].every((name) => isReady(shared.pod(name))));
    const ports = ["a", "b"].map((name) =>
      Number(shared.pod(name)?.metadata.annotations?.["localkube.dev/host-port"]),
    );
    expect(new Set(ports).size).toBe(2);
    for (const port of ports) expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
    const slices = await until(() => {
      const all = shared.list("endpointslices.discovery.k8s.io");
      return all.length === 2 && all;
    });
    const published = slices.map((slice) => JSON.parse(JSON.stringify(slice["ports"]))[0].port);
    expect(new Set(published)).toEqual(new Set(ports));
    await shared.close();
  });
});
