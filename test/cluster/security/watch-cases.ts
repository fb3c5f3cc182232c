import { beforeAll, describe, expect, it, vi } from "vitest";
import { API_GROUP_VERSION } from "../../../api/names.ts";
import { InvocationList } from "../../../api/wire/invocations.ts";
import { CONFIG_MAPS, SECRETS, SERVICES } from "../../../kube/core.ts";
import { KUBERNETES_WATCH_TRIGGERS } from "../../../kube/kinds.ts";
import type { KubeObject } from "../../../kube/object.ts";
import { resourceType } from "../../../kube/resource.ts";
import { condition } from "../../controller/platform.ts";
import { type Tenant, WAIT } from "./tenant.ts";

const SERVICE_ACCOUNTS = resourceType("v1", "ServiceAccount", "serviceaccounts");
const RBAC = "rbac.authorization.k8s.io";
const ROLES = resourceType<KubeObject & { rules: object[] }>(`${RBAC}/v1`, "Role", "roles");
const ROLE_BINDINGS = resourceType<KubeObject & { roleRef: object; subjects: object[] }>(
  `${RBAC}/v1`,
  "RoleBinding",
  "rolebindings",
);

/** Who watches is told no more than the service account that the trigger names may see, and no more than the chart allows. */
export function watchCases(tenant: () => Tenant): void {
  describe("7. watch triggers", () => {
    const make = (name: string, type: "POD" | "SERVICE" | undefined, spec: object) =>
      tenant().kube.create(KUBERNETES_WATCH_TRIGGERS, {
        apiVersion: API_GROUP_VERSION,
        kind: "KubernetesWatchTrigger",
        metadata: { namespace: tenant().namespace, name },
        spec: {
          namespace: tenant().namespace,
          functionref: { type: "name", name: "probe" },
          ...(type === undefined ? {} : { type }),
          ...spec,
        },
      });
    /** Waits until the condition of a trigger has the status; what it says. */
    const said = (name: string, type: string, status: string) =>
      vi.waitFor(async () => {
        const { namespace, kube } = tenant();
        const found = condition(await kube.get(KUBERNETES_WATCH_TRIGGERS, { namespace, name }), type);
        expect(found?.status, `${name}: ${JSON.stringify(found)}`).toBe(status);
        return `${found?.reason ?? ""}: ${found?.message ?? ""}`;
      }, WAIT);
    const deliveredBy = async (name: string) => {
      const { namespace, platform } = tenant();
      const query = new URLSearchParams({ namespace, source: `watch/${name}` });
      const { status, text } = await platform.ops(`/v1/invocations?${query.toString()}`);
      expect(status, text).toBe(200);
      return InvocationList.parse(JSON.parse(text)).items;
    };
    const service = (name: string) =>
      tenant().kube.create(SERVICES, {
        metadata: { namespace: tenant().namespace, name },
        spec: { ports: [{ port: 80 }] },
      });

    beforeAll(async () => {
      const { kube, namespace } = tenant();
      await kube.create(SERVICE_ACCOUNTS, { metadata: { namespace, name: "watcher" } });
      await kube.create(ROLES, {
        metadata: { namespace, name: "watcher" },
        rules: [
          {
            apiGroups: [""],
            resources: ["services", "secrets", "configmaps"],
            verbs: ["get", "list", "watch"],
          },
        ],
      });
      await kube.create(ROLE_BINDINGS, {
        metadata: { namespace, name: "watcher" },
        roleRef: { apiGroup: RBAC, kind: "Role", name: "watcher" },
        subjects: [{ kind: "ServiceAccount", name: "watcher", namespace }],
      });
    });

    it("tell of what the service account may see, and of nothing else", async () => {
      await make("denied", "SERVICE", {});
      await make("granted", "SERVICE", { serviceAccount: "watcher" });
      expect(await said("denied", "Ready", "False")).toMatch(
        /^AccessDenied: Service account "default" .* may not /,
      );
      await said("granted", "Subscribed", "True");
      await service("seen");
      await vi.waitFor(async () => expect(await deliveredBy("granted")).not.toEqual([]), WAIT);
      expect(await deliveredBy("denied")).toEqual([]);
    });

    it("tell of no pods to whom services are shown", async () => {
      await make("pods", "POD", { serviceAccount: "watcher" });
      expect(await said("pods", "Ready", "False")).toMatch(/^AccessDenied: .* may not get pods/);
    });

    it("tell of no Secret and no ConfigMap, even to whom they are shown", async () => {
      const { kube, namespace } = tenant();
      const kinds = [
        ["secrets", "Secret", SECRETS],
        ["configmaps", "ConfigMap", CONFIG_MAPS],
      ] as const;
      for (const [name, kind] of kinds)
        await make(name, undefined, { apiVersion: "v1", kind, serviceAccount: "watcher" });
      for (const [name, , type] of kinds) {
        expect(await said(name, "Ready", "False")).toContain("isotope-triggers");
        await kube.create(type, { metadata: { namespace, name: "unseen" } });
      }
      for (const [name] of kinds) expect(await deliveredBy(name)).toEqual([]);
    });

    it("watch no other namespace", async () => {
      await make("elsewhere", "SERVICE", { namespace: "kube-system", serviceAccount: "watcher" });
      expect(await said("elsewhere", "Ready", "False")).toContain("kube-system");
      expect(await deliveredBy("elsewhere")).toEqual([]);
    });
  });
}
