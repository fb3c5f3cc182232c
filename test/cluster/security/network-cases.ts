import { randomBytes } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { FUNCTION_PORT } from "../../../api/names.ts";
import { ENDPOINT_SLICES, PODS, SERVICES } from "../../../kube/core.ts";
import { NAMESPACES } from "../../../kube/namespace-scope.ts";
import { runCommand } from "../../../scripts/images/run-command.ts";
import { NETWORK, PAUSE_IMAGE } from "../layout.ts";
import { podsAreTaken } from "../pods-are-taken.ts";
import { own, type Tenant, WAIT } from "./tenant.ts";

const METADATA = "169.254.169.254";

/** Where a function's connections lead. */
export function networkCases(tenant: () => Tenant): void {
  /** Which addresses a connection can be made to from inside the function pod, by title. */
  async function reached(targets: Readonly<Record<string, readonly [string, number]>>) {
    const code = `
import concurrent.futures, json, socket
def look(target):
    try:
        socket.create_connection(tuple(target), 4).close()
        return "open"
    except OSError as error:
        return "closed"
targets = json.loads('${JSON.stringify(targets)}')
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    result = json.dumps(dict(zip(targets, pool.map(look, targets.values()))))
`;
    return z.record(z.string(), z.string()).parse(JSON.parse(await tenant().python(code)));
  }
  const all = (targets: object, state: string) =>
    Object.fromEntries(Object.keys(targets).map((title) => [title, state]));

  describe.runIf(own)("4. the network of a function", () => {
    const service = async (namespace: string, name: string): Promise<string> =>
      String((await tenant().kube.get(SERVICES, { namespace, name })).spec["clusterIP"]);
    const serviceOf = async (component: string) => {
      const { items } = await tenant().kube.list(SERVICES, {
        namespace: tenant().home,
        labelSelector: `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${component}`,
      });
      const [found] = items;
      if (!found) return undefined;
      return [String(found.spec["clusterIP"]), found.spec.ports?.[0]?.port ?? 0] as const;
    };

    it("leads to no API server", async () => {
      const { endpoints, ports } = await tenant().kube.get(ENDPOINT_SLICES, {
        namespace: "default",
        name: "kubernetes",
      });
      const targets = {
        service: [await service("default", "kubernetes"), 443],
        server: [endpoints[0]?.addresses[0] ?? "", ports?.[0]?.port ?? 0],
        kubelet: [NETWORK.node, 10_250],
        "kubelet, read-only": [NETWORK.node, 10_255],
        etcd: [NETWORK.node, 2379],
      } as const;
      expect(await reached(targets)).toEqual(all(targets, "closed"));
    });

    it("leads to no metadata service", async () => {
      // The address is given to the node, whose API server listens on all: what nobody answers proves nothing.
      const inNode = (...args: string[]) =>
        runCommand("nsenter", [`--net=/var/run/netns/${NETWORK.name}`, ...args]);
      await inNode("ip", "addr", "replace", `${METADATA}/32`, "dev", "lo");
      try {
        const targets = { metadata: [METADATA, 6443] } as const;
        expect(await unhindered(targets)).toEqual({ metadata: "open" });
        expect(await reached(targets)).toEqual({ metadata: "closed" });
      } finally {
        await inNode("ip", "addr", "del", `${METADATA}/32`, "dev", "lo");
      }
    });

    it("leads to no pod of another function, nor to any other pod", async () => {
      const [builder] = await tenant().podsIn(tenant().namespace, "app.kubernetes.io/component=builder");
      const targets = {
        function: [(await tenant().podOf("probe")).status?.podIP ?? "", FUNCTION_PORT],
        builder: [builder?.status?.podIP ?? "", 8001],
        router: [
          (await tenant().podsIn(tenant().home, "app.kubernetes.io/component=router"))[0]?.status?.podIP ??
            "",
          8889,
        ],
      } as const;
      expect(await reached(targets)).toEqual(all(targets, "closed"));
    });

    it("leads to nothing of the control plane", async () => {
      const components = [
        "router-internal",
        "executor",
        "controller",
        "storage",
        "log-store",
        "workflows",
        "triggers",
      ] as const;
      const found = await Promise.all(components.map(async (name) => [name, await serviceOf(name)] as const));
      const targets: Record<string, readonly [string, number]> = {};
      for (const [name, target] of found) if (target) targets[name] = target;
      expect(Object.keys(targets)).toEqual([...components]);
      expect(await reached(targets)).toEqual(all(targets, "closed"));
    });

    it("has names, though", async () => {
      const code = 'import socket\nresult = socket.gethostbyname("kubernetes.default.svc.cluster.local")';
      expect(await tenant().python(code)).toBe(await service("default", "kubernetes"));
    });

    /** The same from a pod that no policy minds. */
    async function unhindered(targets: Readonly<Record<string, readonly [string, number]>>) {
      const name = `unhindered-${randomBytes(4).toString("hex")}`;
      await tenant().kube.create(NAMESPACES, { metadata: { name } });
      await podsAreTaken(tenant().kube, name);
      const [[title, [address, port]] = ["", ["", 0]]] = Object.entries(targets);
      // This busybox has no `nc -z`: 1 is the code of a connection that was not made.
      const script = `echo | busybox timeout 40 busybox nc -w 20 ${address} ${port} >/dev/null; [ $? != 1 ]`;
      await tenant().kube.create(PODS, {
        metadata: { namespace: name, name },
        spec: {
          restartPolicy: "Never",
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: "c",
              image: PAUSE_IMAGE,
              command: ["/bin/busybox", "sh", "-c", script],
            },
          ],
        },
      });
      try {
        const ended = await vi.waitFor(async () => {
          const pod = await tenant().kube.get(PODS, { namespace: name, name });
          expect(["Succeeded", "Failed"]).toContain(pod.status?.phase);
          return pod;
        }, WAIT);
        return { [title]: ended.status?.phase === "Succeeded" ? "open" : "closed" };
      } finally {
        await tenant().kube.delete(NAMESPACES, { name });
      }
    }
  });
}
