import { describe, expect, test } from "vitest";
import type { Body } from "./api-client.ts";
import { configMap, refused, type Target, useSuite } from "./suite.ts";

const JSON_PATCH = "application/json-patch+json";
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";
const APPLY = "application/apply-patch+yaml";

/** A Deployment that no controller has to run. */
export const deployment = (name: string, replicas = 0): Body => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        containers: [
          {
            name: "main",
            image: "example.com/app:1",
            env: [
              { name: "A", value: "1" },
              { name: "B", value: "2" },
            ],
          },
        ],
      },
    },
  },
});

/** Patches of all kinds, server-side apply, subresources. */
export function patchCases(connect: () => Target): void {
  describe("patches", () => {
    const suite = useSuite(connect);
    const { core, group } = suite;
    const patch = (path: string, body: unknown, contentType: string) =>
      suite.connection.request("PATCH", path, body, { contentType });
    const deployments = (name = ""): string => group("apps/v1", name ? `deployments/${name}` : "deployments");

    test("merge patch: null removes, lists are replaced", async () => {
      await suite.create(core("configmaps"), configMap("merge", { a: "1", b: "2" }, { x: "y" }));
      const merged = await patch(
        core("configmaps/merge"),
        { data: { a: null, c: "3" }, metadata: { labels: null } },
        MERGE,
      );
      expect(merged.body.data).toEqual({ b: "2", c: "3" });
      expect(merged.body.metadata.labels).toBeUndefined();
      refused(await patch(core("configmaps/merge"), "[1]", MERGE), 400, "BadRequest");
      refused(await patch(core("configmaps/none"), {}, MERGE), 404, "NotFound");
    });

    test("JSON patch: operations, failed tests, wrong shapes", async () => {
      await suite.create(core("configmaps"), configMap("json", { a: "1" }));
      const done = await patch(
        core("configmaps/json"),
        [
          { op: "test", path: "/data/a", value: "1" },
          { op: "replace", path: "/data/a", value: "2" },
          { op: "add", path: "/metadata/labels", value: { "x/y": "z" } },
          { op: "copy", from: "/data/a", path: "/data/b" },
        ],
        JSON_PATCH,
      );
      expect(done.status, done.text).toBe(200);
      expect(done.body.data).toEqual({ a: "2", b: "2" });
      const failed = await patch(
        core("configmaps/json"),
        [{ op: "test", path: "/data/a", value: "no" }],
        JSON_PATCH,
      );
      expect(failed.status).toBe(422);
      refused(await patch(core("configmaps/json"), { data: {} }, JSON_PATCH), 400, "BadRequest");
      const missing = await patch(
        core("configmaps/json"),
        [{ op: "remove", path: "/data/none" }],
        JSON_PATCH,
      );
      expect(missing.status).toBe(422);
      expect((await suite.connection.request("GET", core("configmaps/json"))).body.data).toEqual({
        a: "2",
        b: "2",
      });
    });

    test("strategic patch merges lists by their key and knows its directives", async () => {
      await suite.create(deployments(), deployment("strategic"));
      const containers = async (change: Body): Promise<Body[]> => {
        const answer = await patch(
          deployments("strategic"),
          { spec: { template: { spec: change } } },
          STRATEGIC,
        );
        expect(answer.status, answer.text).toBe(200);
        return answer.body.spec.template.spec.containers as Body[];
      };
      const added = await containers({
        containers: [
          { name: "side", image: "example.com/side:1" },
          { name: "main", image: "example.com/app:2" },
        ],
      });
      expect(Object.fromEntries(added.map((each) => [each.name, each.image]))).toEqual({
        main: "example.com/app:2",
        side: "example.com/side:1",
      });
      const env = await containers({
        containers: [
          {
            name: "main",
            env: [
              { name: "A", $patch: "delete" },
              { name: "C", value: "3" },
            ],
          },
        ],
      });
      const names = env
        .find((each) => each.name === "main")
        ?.env.map((each: Body) => each.name)
        .sort();
      expect(names).toEqual(["B", "C"]);
      const removed = await containers({ containers: [{ name: "side", $patch: "delete" }] });
      expect(removed.map((each) => each.name)).toEqual(["main"]);
      const labels = async (change: Body) =>
        (await patch(deployments("strategic"), { metadata: { labels: change } }, STRATEGIC)).body.metadata
          .labels;
      // There is nothing that it could replace.
      expect(await labels({ $patch: "replace", never: "this" })).toBeUndefined();
      expect(await labels({ one: "1" })).toEqual({ one: "1" });
      expect(await labels({ $patch: "replace", only: "this" })).toEqual({ only: "this" });
    });

    test("an unknown kind of patch is 415", async () => {
      await suite.create(core("configmaps"), configMap("unknown"));
      refused(await patch(core("configmaps/unknown"), {}, "application/json"), 415, "UnsupportedMediaType");
    });

    test("a patch that names an old version is a conflict", async () => {
      const made = await suite.create(core("configmaps"), configMap("versioned"));
      await patch(core("configmaps/versioned"), { data: { a: "1" } }, MERGE);
      refused(
        await patch(
          core("configmaps/versioned"),
          { metadata: { resourceVersion: made.metadata.resourceVersion }, data: { a: "2" } },
          MERGE,
        ),
        409,
        "Conflict",
      );
    });

    test("the status subresource touches the status alone, the main resource all but it", async () => {
      const made = await suite.create(deployments(), { ...deployment("status"), status: { replicas: 7 } });
      expect(made.status.replicas ?? 0).toBe(0);
      expect(made.metadata.generation).toBe(1);
      const status = await patch(
        `${deployments("status")}/status`,
        {
          spec: { replicas: 5 },
          status: {
            observedGeneration: 1,
            conditions: [
              {
                type: "Progressing",
                status: "True",
                reason: "Test",
                message: "m",
                lastUpdateTime: "2024-01-01T00:00:00Z",
                lastTransitionTime: "2024-01-01T00:00:00Z",
              },
            ],
          },
        },
        MERGE,
      );
      expect(status.status, status.text).toBe(200);
      expect(status.body.spec.replicas).toBe(0);
      expect(status.body.metadata.generation).toBe(1);
      const main = await patch(
        deployments("status"),
        { spec: { minReadySeconds: 3 }, status: { replicas: 9 } },
        MERGE,
      );
      expect(main.body.status.replicas ?? 0).toBe(0);
      expect(main.body.metadata.generation).toBe(2);
      const labelled = await patch(deployments("status"), { metadata: { labels: { a: "b" } } }, MERGE);
      expect(labelled.body.metadata.generation).toBe(2);
    });

    test("the scale subresource shows and sets replicas", async () => {
      await suite.create(deployments(), deployment("scaled"));
      const scale = await suite.connection.request("GET", `${deployments("scaled")}/scale`);
      expect(scale.body).toMatchObject({
        kind: "Scale",
        apiVersion: "autoscaling/v1",
        spec: {},
        status: { selector: "app=scaled" },
      });
      const set = await patch(`${deployments("scaled")}/scale`, { spec: { replicas: 1 } }, MERGE);
      expect(set.body.spec.replicas).toBe(1);
      expect((await suite.connection.request("GET", deployments("scaled"))).body.spec.replicas).toBe(1);
      const back = await suite.connection.request("PUT", `${deployments("scaled")}/scale`, {
        apiVersion: "autoscaling/v1",
        kind: "Scale",
        metadata: { name: "scaled", namespace: suite.namespace },
        spec: { replicas: 0 },
      });
      expect(back.status, back.text).toBe(200);
      refused(
        await patch(`${deployments("scaled")}/scale`, { spec: { replicas: -1 } }, MERGE),
        422,
        "Invalid",
      );
    });
  });

  describe("server-side apply", () => {
    const suite = useSuite(connect);
    const apply = (name: string, body: Body, manager: string, query = "") =>
      suite.connection.request(
        "PATCH",
        `${suite.core(`configmaps/${name}`)}?fieldManager=${manager}${query}`,
        { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, ...body },
        { contentType: APPLY },
      );

    test("creates, then merges, and takes out what is no longer applied", async () => {
      const made = await apply("ssa", { data: { a: "1", b: "2" } }, "one");
      expect(made.status, made.text).toBe(201);
      expect(made.body.metadata.managedFields[0]).toMatchObject({ manager: "one", operation: "Apply" });
      const again = await apply("ssa", { data: { a: "1", b: "2" } }, "one");
      expect(again.status).toBe(200);
      expect(again.body.metadata.resourceVersion).toBe(made.body.metadata.resourceVersion);
      const other = await apply("ssa", { data: { c: "3" } }, "two");
      expect(other.body.data).toEqual({ a: "1", b: "2", c: "3" });
      const less = await apply("ssa", { data: { a: "1" } }, "one");
      expect(less.body.data).toEqual({ a: "1", c: "3" });
    });

    test("another manager's field is a conflict, unless forced", async () => {
      await apply("fight", { data: { a: "1" } }, "one");
      const answer = await apply("fight", { data: { a: "2" } }, "two");
      const message = refused(answer, 409, "Conflict");
      expect(message).toContain('conflict with "one": .data.a');
      expect(answer.body.details.causes[0]).toMatchObject({
        reason: "FieldManagerConflict",
        field: ".data.a",
      });
      const shared = await apply("fight", { data: { a: "1" } }, "three");
      expect(shared.status).toBe(200);
      const forced = await apply("fight", { data: { a: "2" } }, "two", "&force=true");
      expect(forced.body.data).toEqual({ a: "2" });
      const kept = await apply("fight", {}, "one");
      expect(kept.body.data).toEqual({ a: "2" });
    });

    test("an ordinary write takes the fields it changes", async () => {
      await apply("mixed", { data: { a: "1", b: "1" } }, "one");
      await suite.connection.request(
        "PATCH",
        `${suite.core("configmaps/mixed")}?fieldManager=hand`,
        { data: { a: "2" } },
        { contentType: MERGE },
      );
      refused(await apply("mixed", { data: { a: "3", b: "1" } }, "one"), 409, "Conflict");
      expect((await apply("mixed", { data: { b: "1" } }, "one")).body.data).toEqual({ a: "2", b: "1" });
    });

    test("lists with keys are merged by them", async () => {
      const path = suite.group("apps/v1", "deployments/ssa-list");
      const body = deployment("ssa-list");
      const made = await suite.connection.request("PATCH", `${path}?fieldManager=one`, body, {
        contentType: APPLY,
      });
      expect(made.status, made.text).toBe(201);
      const side = structuredClone(body);
      side.spec = { template: { spec: { containers: [{ name: "side", image: "example.com/side:1" }] } } };
      const both = await suite.connection.request("PATCH", `${path}?fieldManager=two`, side, {
        contentType: APPLY,
      });
      expect(both.status, both.text).toBe(200);
      expect(both.body.spec.template.spec.containers.map((each: Body) => each.name).sort()).toEqual([
        "main",
        "side",
      ]);
      body.spec.template.spec.containers[0].env = [{ name: "B", value: "2" }];
      const less = await suite.connection.request("PATCH", `${path}?fieldManager=one`, body, {
        contentType: APPLY,
      });
      const main = less.body.spec.template.spec.containers.find((each: Body) => each.name === "main");
      expect(main.env).toEqual([{ name: "B", value: "2" }]);
      expect(less.body.spec.template.spec.containers.length).toBe(2);
    });

    test("needs a field manager", async () => {
      const answer = await suite.connection.request("PATCH", suite.core("configmaps/x"), configMap("x"), {
        contentType: APPLY,
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    });
  });
}
