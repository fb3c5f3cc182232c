import { describe, expect, it } from "vitest";
import { z } from "zod";
import { KubeError } from "../../../kube/kube-error.ts";
import { resourceType } from "../../../kube/resource.ts";
import type { Tenant } from "./tenant.ts";

/** What comes from outside, and what must not get out. */
export function outsideCases(tenant: () => Tenant): void {
  describe("8. what comes from outside", () => {
    it("calls no function but through its triggers", async () => {
      for (const path of [
        `/fission-function/${tenant().namespace}/probe`,
        "/fission-function/probe",
        "/v2/acquire",
      ])
        expect((await tenant().platform.get(path)).status, path).toBe(404);
    });

    it("brings no header of the platform to a function", async () => {
      const forged = {
        "x-isotope-pod": "p",
        "x-isotope-revision": "r",
        "x-isotope-timeout-ms": "1",
        "x-fission-function-name": "admin",
        "x-fission-params-user": "root",
        "x-forwarded-for": "127.0.0.1",
      };
      const reply = await tenant().platform.get(`/${tenant().namespace}/probe`, { headers: forged });
      const { headers } = z.object({ headers: z.record(z.string(), z.string()) }).parse(await reply.json());
      // The router's own, which tells the pod what is meant for it.
      expect(headers["x-isotope-pod"]).not.toBe("p");
      expect(headers["x-fission-params-user"]).toBeUndefined();
      expect(headers["x-fission-function-name"] ?? "probe").toBe("probe");
      expect(headers["x-forwarded-for"]).not.toContain("127.0.0.1");
    });
  });

  describe("9. secrets", () => {
    it("are in no object but the Secret itself, and in no log of the platform", async () => {
      const { namespace } = tenant();
      const encoded = Buffer.from(tenant().secret).toString("base64");
      const Kinds = z.looseObject({
        resources: z.array(z.looseObject({ name: z.string(), verbs: z.array(z.string()) })),
      });
      const roots = [
        "/api/v1",
        "/apis/apps/v1",
        "/apis/discovery.k8s.io/v1",
        "/apis/fission.io/v1",
        "/apis/events.k8s.io/v1",
      ];
      const holders: string[] = [];
      for (const root of roots) {
        const { resources } = Kinds.parse(await tenant().kube.request({ method: "GET", path: root }));
        for (const { name } of resources.filter(
          (one) => one.verbs.includes("list") && !one.name.includes("/"),
        )) {
          const type = resourceType(root.replace(/^\/apis?\//, ""), name, name);
          const listed = await tenant()
            .kube.list(type, { namespace })
            .catch(() => ({ items: [] }));
          for (const item of listed.items) {
            const text = JSON.stringify(item);
            if (text.includes(tenant().secret) || text.includes(encoded))
              holders.push(`${name}/${item.metadata.name}`);
          }
        }
      }
      expect(holders).toEqual(["secrets/app"]);
      for (const pod of [
        ...(await tenant().podsIn(tenant().home)),
        ...(await tenant().podsIn(namespace, "app.kubernetes.io/component=builder")),
      ]) {
        const log = await tenant()
          .kube.stream({
            method: "GET",
            path: `/api/v1/namespaces/${pod.metadata.namespace ?? tenant().home}/pods/${pod.metadata.name}/log`,
            query: { container: pod.spec.containers[0]?.name },
          })
          .catch((error: unknown) => {
            // It went meanwhile.
            if (error instanceof KubeError && error.status === 404) return [];
            throw error;
          });
        let text = "";
        for await (const chunk of log) text += String(chunk);
        expect(text.includes(tenant().secret) || text.includes(encoded), pod.metadata.name).toBe(false);
      }
    });
  });
}
