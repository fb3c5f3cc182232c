import { describe, expect, test } from "vitest";
import type { Body } from "./api-client.ts";
import { configMap, refused, type Target, useSuite } from "./suite.ts";

/** CRUD, metadata, concurrency, dry run, field validation. */
export function objectCases(connect: () => Target): void {
  describe("objects", () => {
    const suite = useSuite(connect);
    const { core } = suite;
    const send = (method: string, path: string, body?: unknown, contentType?: string) =>
      suite.connection.request(method, path, body, contentType ? { contentType } : {});

    test("create, read, replace, delete", async () => {
      const made = await suite.create(core("configmaps"), configMap("life", { a: "1" }));
      expect(made).toMatchObject({ apiVersion: "v1", kind: "ConfigMap", data: { a: "1" } });
      expect(made.metadata).toMatchObject({ name: "life", namespace: suite.namespace });
      expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(made.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect((await send("GET", core("configmaps/life"))).body).toEqual(made);
      const replaced = await send("PUT", core("configmaps/life"), { ...made, data: { a: "2" } });
      expect(replaced.status).toBe(200);
      expect(replaced.body.data).toEqual({ a: "2" });
      expect(replaced.body.metadata.resourceVersion).not.toBe(made.metadata.resourceVersion);
      const gone = await send("DELETE", core("configmaps/life"));
      expect(gone.body).toMatchObject({
        kind: "Status",
        status: "Success",
        details: { name: "life", kind: "configmaps" },
      });
      const message = refused(await send("GET", core("configmaps/life")), 404, "NotFound");
      expect(message).toBe('configmaps "life" not found');
    });

    test("refuses a second object of the same name", async () => {
      await suite.create(core("configmaps"), configMap("twice"));
      const message = refused(
        await send("POST", core("configmaps"), configMap("twice")),
        409,
        "AlreadyExists",
      );
      expect(message).toBe('configmaps "twice" already exists');
    });

    test("generates names", async () => {
      const made = await suite.create(core("configmaps"), { metadata: { generateName: "gen-" } });
      expect(made.metadata.name).toMatch(/^gen-[a-z0-9]{5}$/);
    });

    test("keeps identity and creation time, also when a client changes them", async () => {
      const made = await suite.create(core("configmaps"), configMap("fixed"));
      const replaced = await send("PUT", core("configmaps/fixed"), {
        ...made,
        metadata: { ...made.metadata, creationTimestamp: "2001-01-01T00:00:00.000Z", generation: 99 },
      });
      expect(replaced.status).toBe(200);
      expect(replaced.body.metadata.creationTimestamp).toBe(made.metadata.creationTimestamp);
      refused(
        await send("PUT", core("configmaps/fixed"), {
          ...made,
          metadata: { ...made.metadata, uid: "11111111-1111-1111-1111-111111111111" },
        }),
        409,
        "Conflict",
      );
    });

    test("a stale write is a conflict, and a write without effect keeps the version", async () => {
      const made = await suite.create(core("configmaps"), configMap("stale", { a: "1" }));
      const next = await send("PUT", core("configmaps/stale"), { ...made, data: { a: "2" } });
      refused(await send("PUT", core("configmaps/stale"), { ...made, data: { a: "3" } }), 409, "Conflict");
      const same = await send("PUT", core("configmaps/stale"), next.body);
      expect(same.body.metadata.resourceVersion).toBe(next.body.metadata.resourceVersion);
    });

    test("a name in the body must be that of the path; so must the namespace", async () => {
      await suite.create(core("configmaps"), configMap("named"));
      refused(await send("PUT", core("configmaps/named"), configMap("other")), 400, "BadRequest");
      refused(
        await send("POST", core("configmaps"), { metadata: { name: "x", namespace: "elsewhere" } }),
        400,
        "BadRequest",
      );
      refused(
        await send("POST", core("configmaps"), { apiVersion: "v1", kind: "Secret", metadata: { name: "x" } }),
        400,
        "BadRequest",
      );
    });

    test("nothing is made in a namespace that is not there", async () => {
      refused(await send("POST", "/api/v1/namespaces/not-there/configmaps", configMap("x")), 404, "NotFound");
    });

    test.each([
      ["upper case", { name: "Upper" }, "metadata.name"],
      ["no name", {}, "metadata.name"],
      ["a bad label key", { name: "ok", labels: { "-bad-": "x" } }, "metadata.labels"],
      ["a bad label value", { name: "ok", labels: { a: "not ok" } }, "metadata.labels"],
      [
        "two controllers",
        {
          name: "ok",
          ownerReferences: [1, 2].map((n) => ({
            apiVersion: "v1",
            kind: "Pod",
            name: `p${n}`,
            uid: `u${n}`,
            controller: true,
          })),
        },
        "metadata.ownerReferences",
      ],
    ])("refuses metadata with %s", async (_name, metadata, field) => {
      const answer = await send("POST", core("configmaps"), { metadata });
      refused(answer, 422, "Invalid");
      expect(answer.body.details.causes.map((cause: Body) => cause.field)).toContain(field);
    });

    test("refuses a body that cannot be read, and one of another media type", async () => {
      refused(await send("POST", core("configmaps"), "{not json"), 400, "BadRequest");
      refused(await send("POST", core("configmaps"), "<x/>", "application/xml"), 415, "UnsupportedMediaType");
      refused(
        await send("POST", core("configmaps"), { metadata: { name: "x" }, data: { a: 1 } }),
        400,
        "BadRequest",
      );
      refused(
        await send("POST", core("configmaps"), { metadata: { name: "x" }, data: "text" }),
        400,
        "BadRequest",
      );
    });

    test("reads YAML", async () => {
      const made = await send(
        "POST",
        core("configmaps"),
        "metadata:\n  name: from-yaml\ndata:\n  a: b\n",
        "application/yaml",
      );
      expect(made.status, made.text).toBe(201);
      expect(made.body.data).toEqual({ a: "b" });
    });

    test("a dry run answers as if and changes nothing", async () => {
      const tried = await send("POST", `${core("configmaps")}?dryRun=All`, configMap("dry"));
      expect(tried.status).toBe(201);
      expect(tried.body.metadata.uid).toBeTruthy();
      expect((await send("GET", core("configmaps/dry"))).status).toBe(404);
      const made = await suite.create(core("configmaps"), configMap("dry", { a: "1" }));
      expect((await send("PUT", `${core("configmaps/dry")}?dryRun=All`, { ...made, data: {} })).status).toBe(
        200,
      );
      expect((await send("DELETE", core("configmaps/dry"), { dryRun: ["All"] })).status).toBe(200);
      expect((await send("GET", core("configmaps/dry"))).body).toEqual(made);
      refused(await send("POST", `${core("configmaps")}?dryRun=Some`, configMap("dry2")), 422, "Invalid");
    });

    test("field validation: Strict refuses, Warn warns, Ignore is silent", async () => {
      const body = { ...configMap("strict"), surplus: 1 };
      const strict = await send("POST", `${core("configmaps")}?fieldValidation=Strict`, body);
      expect(refused(strict, 400, "BadRequest")).toContain('unknown field "surplus"');
      const twice = await send(
        "POST",
        `${core("configmaps")}?fieldValidation=Strict`,
        '{"metadata":{"name":"dup"},"data":{"a":"1","a":"2"}}',
      );
      expect(refused(twice, 400, "BadRequest")).toContain('duplicate field "data.a"');
      const warned = await send("POST", `${core("configmaps")}?fieldValidation=Warn&dryRun=All`, body);
      expect(warned.status).toBe(201);
      expect(warned.headers.warning).toContain("unknown field");
      const silent = await send("POST", `${core("configmaps")}?fieldValidation=Ignore`, body);
      expect(silent.status).toBe(201);
      expect(silent.headers.warning).toBeUndefined();
      expect(silent.body.surplus).toBeUndefined();
    });

    test("preconditions of a deletion", async () => {
      const made = await suite.create(core("configmaps"), configMap("pre"));
      refused(
        await send("DELETE", core("configmaps/pre"), { preconditions: { uid: "no" } }),
        409,
        "Conflict",
      );
      refused(
        await send("DELETE", core("configmaps/pre"), { preconditions: { resourceVersion: "1" } }),
        409,
        "Conflict",
      );
      const done = await send("DELETE", core("configmaps/pre"), {
        preconditions: { uid: made.metadata.uid },
      });
      expect(done.status).toBe(200);
    });

    test("finalizers hold an object until they are taken off", async () => {
      const made = await suite.create(core("configmaps"), {
        metadata: { name: "held", finalizers: ["example.com/hold"] },
      });
      const pending = await send("DELETE", core("configmaps/held"));
      expect(pending.body.metadata.deletionTimestamp).toBeTruthy();
      const again = (await send("GET", core("configmaps/held"))).body;
      expect(again.metadata.uid).toBe(made.metadata.uid);
      refused(
        await send("PUT", core("configmaps/held"), {
          ...again,
          metadata: { ...again.metadata, finalizers: ["example.com/hold", "example.com/more"] },
        }),
        422,
        "Invalid",
      );
      await send("PUT", core("configmaps/held"), {
        ...again,
        metadata: { ...again.metadata, finalizers: [] },
      });
      expect((await send("GET", core("configmaps/held"))).status).toBe(404);
    });

    test("delete collection takes what the selector fits", async () => {
      for (const name of ["c1", "c2", "c3"]) {
        await suite.create(
          core("configmaps"),
          configMap(name, {}, { group: name === "c3" ? "other" : "these" }),
        );
      }
      expect((await send("DELETE", `${core("configmaps")}?labelSelector=group%3Dthese`)).status).toBe(200);
      const left = await send("GET", `${core("configmaps")}?labelSelector=group`);
      expect(left.body.items.map((item: Body) => item.metadata.name)).toEqual(["c3"]);
    });

    test("tables for kubectl, and metadata alone", async () => {
      await suite.create(core("configmaps"), configMap("shown", { a: "1", b: "2" }));
      const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
      const one = await suite.connection.request("GET", core("configmaps/shown"), undefined, { accept });
      expect(one.body).toMatchObject({ kind: "Table", apiVersion: "meta.k8s.io/v1" });
      expect(one.body.columnDefinitions.map((column: Body) => column.name)).toEqual(["Name", "Data", "Age"]);
      expect(one.body.rows[0].cells.slice(0, 2)).toEqual(["shown", 2]);
      expect(one.body.rows[0].object.metadata.name).toBe("shown");
      const partial = await suite.connection.request("GET", core("configmaps/shown"), undefined, {
        accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
      });
      expect(partial.body.kind).toBe("PartialObjectMetadata");
      expect(partial.body.data).toBeUndefined();
    });
  });
}
