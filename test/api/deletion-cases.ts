import { describe, expect, test } from "vitest";
import { type Body, eventually } from "./api-client.ts";
import { configMap, refused, type Target, useSuite } from "./suite.ts";

/** Kubernetes works on a few namespaces at a time, and looks at one that still holds something again after some 15 s. */
const NAMESPACE_MS = 60_000;

/** Owner references and namespaces: what goes with what. */
export function deletionCases(connect: () => Target): void {
  describe("deletion", () => {
    const suite = useSuite(connect);
    const { core } = suite;
    const get = (name: string) => suite.connection.request("GET", core(`configmaps/${name}`));
    const owner = (of: Body, extra: Body = {}): Body => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      name: of.metadata.name,
      uid: of.metadata.uid,
      ...extra,
    });
    const owned = (name: string, ...owners: Body[]): Promise<Body> =>
      suite.create(core("configmaps"), { ...configMap(name), metadata: { name, ownerReferences: owners } });
    const remove = (name: string, propagationPolicy: string) =>
      suite.connection.request("DELETE", core(`configmaps/${name}`), {
        kind: "DeleteOptions",
        apiVersion: "v1",
        propagationPolicy,
      });
    const isGone = ({ status }: { status: number }): boolean => status === 404;

    test("in the background takes dependents along, and theirs", async () => {
      const top = await suite.create(core("configmaps"), configMap("bg-top"));
      const middle = await owned("bg-middle", owner(top));
      await owned("bg-leaf", owner(middle));
      await remove("bg-top", "Background");
      expect((await get("bg-top")).status).toBe(404);
      await eventually(() => get("bg-leaf"), isGone);
    });

    test("leaves what another owner still holds", async () => {
      const [a, b] = [
        await suite.create(core("configmaps"), configMap("two-a")),
        await suite.create(core("configmaps"), configMap("two-b")),
      ];
      await owned("two-leaf", owner(a), owner(b));
      await remove("two-a", "Background");
      const left = await eventually(
        () => get("two-leaf"),
        ({ body }) => body.metadata?.ownerReferences?.length === 1,
      );
      expect(left.body.metadata.ownerReferences[0].name).toBe("two-b");
      await remove("two-b", "Background");
      await eventually(() => get("two-leaf"), isGone);
    });

    test("in the foreground waits for dependents that block it", async () => {
      const top = await suite.create(core("configmaps"), configMap("fg-top"));
      const leaf = await suite.create(core("configmaps"), {
        metadata: {
          name: "fg-leaf",
          finalizers: ["example.com/hold"],
          ownerReferences: [owner(top, { blockOwnerDeletion: true })],
        },
      });
      await remove("fg-top", "Foreground");
      await eventually(
        () => get("fg-leaf"),
        ({ body }) => body.metadata?.deletionTimestamp !== undefined,
      );
      const waiting = await get("fg-top");
      expect(waiting.body.metadata.finalizers).toEqual(["foregroundDeletion"]);
      expect(leaf.metadata.deletionTimestamp).toBeUndefined();
      await suite.connection.request(
        "PATCH",
        core("configmaps/fg-leaf"),
        { metadata: { finalizers: null } },
        { contentType: "application/merge-patch+json" },
      );
      await eventually(() => get("fg-top"), isGone);
      expect((await get("fg-leaf")).status).toBe(404);
    });

    test("with orphaning leaves dependents without an owner", async () => {
      const top = await suite.create(core("configmaps"), configMap("or-top"));
      await owned("or-leaf", owner(top));
      await remove("or-top", "Orphan");
      await eventually(() => get("or-top"), isGone);
      const leaf = await get("or-leaf");
      expect(leaf.status).toBe(200);
      expect(leaf.body.metadata.ownerReferences).toBeUndefined();
    });

    test("of an owner that never was", async () => {
      await owned("ghost-leaf", {
        apiVersion: "v1",
        kind: "ConfigMap",
        name: "ghost",
        uid: "00000000-0000-0000-0000-000000000000",
      });
      await eventually(() => get("ghost-leaf"), isGone);
    });

    test("an unknown policy is refused", async () => {
      await suite.create(core("configmaps"), configMap("policy"));
      refused(await remove("policy", "Sideways"), 422, "Invalid");
    });

    test("of a namespace takes its content along, and admits nothing new meanwhile", async () => {
      const made = await suite.create("/api/v1/namespaces", { metadata: { generateName: "gone-" } });
      const name = made.metadata.name as string;
      expect(made).toMatchObject({ status: { phase: "Active" }, spec: { finalizers: ["kubernetes"] } });
      expect(made.metadata.labels["kubernetes.io/metadata.name"]).toBe(name);
      const path = `/api/v1/namespaces/${name}`;
      await suite.create(`${path}/secrets`, { metadata: { name: "s" } });
      await suite.create(`${path}/configmaps`, {
        metadata: { name: "held", finalizers: ["example.com/hold"] },
      });
      const going = await suite.connection.request("DELETE", path);
      expect(going.body.status.phase).toBe("Terminating");
      expect(
        refused(
          await suite.connection.request("POST", `${path}/configmaps`, configMap("new")),
          403,
          "Forbidden",
        ),
      ).toContain("is being terminated");
      await eventually(() => suite.connection.request("GET", `${path}/secrets/s`), isGone, NAMESPACE_MS);
      expect((await suite.connection.request("GET", path)).status).toBe(200);
      await eventually(
        () => suite.connection.request("GET", `${path}/configmaps/held`),
        ({ body }) => body.metadata?.deletionTimestamp !== undefined,
        NAMESPACE_MS,
      );
      await suite.connection.request(
        "PATCH",
        `${path}/configmaps/held`,
        { metadata: { finalizers: [] } },
        { contentType: "application/merge-patch+json" },
      );
      await eventually(() => suite.connection.request("GET", path), isGone, NAMESPACE_MS);
    });

    test("the default namespace stays", async () => {
      refused(await suite.connection.request("DELETE", "/api/v1/namespaces/default"), 403, "Forbidden");
    });
  });
}
