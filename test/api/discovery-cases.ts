import { describe, expect, test } from "vitest";
import type { Body } from "./api-client.ts";
import { refused, type Target, useSuite } from "./suite.ts";

/** Discovery, versions, OpenAPI, health, authentication. */
export function discoveryCases(connect: () => Target): void {
  describe("discovery", () => {
    const suite = useSuite(connect);
    const get = (path: string, accept?: string) =>
      suite.connection.request("GET", path, undefined, accept ? { accept } : {});

    test("names versions, groups and resources", async () => {
      expect((await get("/api")).body).toMatchObject({ kind: "APIVersions", versions: ["v1"] });
      const groups = (await get("/apis")).body;
      expect(groups.kind).toBe("APIGroupList");
      const names = groups.groups.map((group: Body) => group.name);
      for (const name of [
        "apps",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "apiextensions.k8s.io",
        "events.k8s.io",
      ]) {
        expect(names).toContain(name);
      }
      expect((await get("/apis/apps")).body).toMatchObject({
        kind: "APIGroup",
        name: "apps",
        preferredVersion: { groupVersion: "apps/v1", version: "v1" },
      });
      const core = (await get("/api/v1")).body;
      expect(core).toMatchObject({ kind: "APIResourceList", groupVersion: "v1" });
      expect(core.resources.find((each: Body) => each.name === "pods")).toMatchObject({
        kind: "Pod",
        namespaced: true,
        shortNames: ["po"],
        singularName: "pod",
      });
      const resources = core.resources.map((each: Body) => each.name);
      expect(resources).toEqual(
        expect.arrayContaining(["pods/log", "pods/status", "configmaps", "secrets", "events"]),
      );
      const apps = (await get("/apis/apps/v1")).body.resources.map((each: Body) => each.name);
      expect(apps).toEqual(
        expect.arrayContaining(["deployments", "deployments/scale", "deployments/status"]),
      );
    });

    test("tells all in one document when asked to", async () => {
      const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
      const answer = await get("/apis", accept);
      expect(answer.headers["content-type"]).toBe(accept);
      const apps = answer.body.items.find((group: Body) => group.metadata.name === "apps");
      expect(apps.versions[0].resources.map((each: Body) => each.resource)).toContain("deployments");
    });

    test("says its version and that it is well", async () => {
      expect((await get("/version")).body).toMatchObject({ major: "1" });
      for (const path of ["/healthz", "/readyz", "/livez"]) {
        const answer = await suite.connection.request("GET", path, undefined, { token: "" });
        expect([answer.status, answer.text]).toEqual([200, "ok"]);
      }
    });

    test("publishes OpenAPI v3 with kinds and the fieldValidation parameter", async () => {
      const index = (await get("/openapi/v3")).body;
      const url = index.paths["apis/apps/v1"].serverRelativeURL as string;
      const document = (await get(url)).body;
      const patch = document.paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"].patch;
      expect(patch["x-kubernetes-group-version-kind"]).toMatchObject({
        group: "apps",
        kind: "Deployment",
        version: "v1",
      });
      expect(patch.parameters.map((each: Body) => each.name)).toContain("fieldValidation");
      const schema = document.components.schemas["io.k8s.api.apps.v1.DeploymentSpec"];
      expect(schema.properties.replicas).toMatchObject({ type: "integer", format: "int32" });
    });

    test("refuses strangers", async () => {
      for (const token of ["wrong", "x".repeat(100)]) {
        refused(
          await suite.connection.request("GET", "/api/v1/namespaces", undefined, { token }),
          401,
          "Unauthorized",
        );
      }
    });

    test("answers 404 and 405 with a Status", async () => {
      for (const path of ["/apis/nowhere.example.com/v1/things", suite.core("nothings"), "/api/v2/pods"]) {
        const answer = await get(path);
        expect(answer.status).toBe(404);
      }
      refused(await suite.connection.request("DELETE", "/api/v1/namespaces"), 405, "MethodNotAllowed");
      refused(
        await suite.connection.request("POST", suite.core("configmaps/x"), { metadata: { name: "x" } }),
        405,
        "MethodNotAllowed",
      );
    });

    test("reviews access and tokens", async () => {
      const access = await suite.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
        kind: "SelfSubjectAccessReview",
        apiVersion: "authorization.k8s.io/v1",
        spec: { resourceAttributes: { verb: "delete", resource: "pods", namespace: suite.namespace } },
      });
      expect(access.status.allowed).toBe(true);
      const review = await suite.create("/apis/authentication.k8s.io/v1/tokenreviews", {
        spec: { token: "nobody" },
      });
      expect(review.status.authenticated ?? false).toBe(false);
    });

    test.each([
      ["secrets of its own namespace", { verb: "get", resource: "secrets" }],
      ["whatever there is", { verb: "list", resource: "*" }],
      ["what another namespace holds", { verb: "list", resource: "pods", namespace: "kube-system" }],
      ["what lies in no namespace", { verb: "list", resource: "namespaces", namespace: "" }],
      ["roles", { verb: "list", group: "rbac.authorization.k8s.io", resource: "roles" }],
    ])("a service account that nobody gave a right does not read %s, nor write", async (_what, asked) => {
      const attributes = { namespace: suite.namespace, ...asked };
      for (const verb of [attributes.verb, "create"]) {
        const review = await suite.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SubjectAccessReview",
          spec: {
            user: `system:serviceaccount:${suite.namespace}:default`,
            groups: ["system:serviceaccounts", "system:authenticated"],
            resourceAttributes: { ...attributes, verb },
          },
        });
        expect(review.status.allowed).toBe(false);
      }
    });
  });
}
