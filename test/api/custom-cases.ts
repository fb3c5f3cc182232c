import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Body, eventually } from "./api-client.ts";
import { refused, type Target, useSuite } from "./suite.ts";

const MERGE = "application/merge-patch+json";

const gadgetSchema = {
  type: "object",
  required: ["spec"],
  "x-kubernetes-validations": [
    { rule: "self.metadata.name != 'forbidden-name'", message: "this name is not for gadgets" },
  ],
  properties: {
    spec: {
      type: "object",
      required: ["size"],
      "x-kubernetes-validations": [
        {
          rule: "!has(self.maximum) || self.size <= self.maximum",
          // Of a bounded length: a server refuses an expression that might cost too much.
          messageExpression: "'size exceeds its maximum' + (has(self.code) ? ' of ' + self.code : '')",
        },
        {
          rule: "has(self.left) != has(self.right)",
          message: "exactly one of left and right must be set",
          reason: "FieldValueForbidden",
          fieldPath: ".left",
        },
        {
          rule: "!has(self.ports) || self.ports.all(p, self.ports.exists_one(q, q.number == p.number))",
          message: "port numbers must be unique",
        },
      ],
      properties: {
        size: { type: "integer", minimum: 1, maximum: 100 },
        maximum: { type: "integer" },
        color: { type: "string", enum: ["red", "green"], default: "red" },
        code: { type: "string", maxLength: 20, pattern: "^[a-z]+$" },
        left: { type: "string", maxLength: 10 },
        right: { type: "string", maxLength: 10 },
        fixed: {
          type: "string",
          maxLength: 20,
          "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "fixed is immutable" }],
        },
        link: {
          type: "string",
          maxLength: 50,
          "x-kubernetes-validations": [
            { rule: "self.startsWith('https://') && self.size() > 10 && self.matches('^[a-z:/.]+$')" },
          ],
        },
        ports: {
          type: "array",
          maxItems: 10,
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: {
            type: "object",
            required: ["name"],
            properties: { name: { type: "string", maxLength: 10 }, number: { type: "integer", default: 80 } },
          },
        },
        tags: {
          type: "array",
          maxItems: 5,
          "x-kubernetes-list-type": "set",
          items: { type: "string", maxLength: 10 },
        },
        limit: { "x-kubernetes-int-or-string": true },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        when: { type: "string", format: "date-time" },
        weights: { type: "object", maxProperties: 5, additionalProperties: { type: "integer", minimum: 0 } },
      },
    },
    status: { type: "object", properties: { phase: { type: "string" }, replicas: { type: "integer" } } },
  },
};

const gadgetCrd = (group: string): Body => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `gadgets.${group}` },
  spec: {
    group,
    scope: "Namespaced",
    names: { plural: "gadgets", singular: "gadget", kind: "Gadget", shortNames: ["gdg"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: gadgetSchema },
        subresources: {
          status: {},
          scale: { specReplicasPath: ".spec.size", statusReplicasPath: ".status.replicas" },
        },
        additionalPrinterColumns: [
          { name: "Size", type: "integer", jsonPath: ".spec.size" },
          { name: "Phase", type: "string", jsonPath: ".status.phase" },
          { name: "Port", type: "integer", jsonPath: '.spec.ports[?(@.name=="web")].number', priority: 1 },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
      },
    ],
  },
});

/** Custom resource definitions: schemas, defaults, pruning, CEL rules, subresources, columns. */
export function customCases(connect: () => Target): void {
  describe("custom resources", () => {
    const suite = useSuite(connect);
    const group = `api-test-${Math.random().toString(36).slice(2, 8)}.example.com`;
    const crdPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    const gadgets = (name = ""): string => suite.group(`${group}/v1`, name ? `gadgets/${name}` : "gadgets");
    const gadget = (name: string, spec: Body = {}): Body => ({
      apiVersion: `${group}/v1`,
      kind: "Gadget",
      metadata: { name },
      spec: { size: 3, left: "l", ...spec },
    });
    const post = (body: Body, query = "") => suite.connection.request("POST", gadgets() + query, body);
    const merge = (name: string, body: Body) =>
      suite.connection.request("PATCH", gadgets(name), body, { contentType: MERGE });

    beforeAll(async () => {
      await suite.create(crdPath, gadgetCrd(group));
      await eventually(
        () => suite.connection.request("GET", `${crdPath}/gadgets.${group}`),
        ({ body }) =>
          body.status?.conditions?.some(
            (each: Body) => each.type === "Established" && each.status === "True",
          ),
      );
      await eventually(
        () => suite.connection.request("GET", gadgets()),
        ({ status }) => status === 200,
      );
    });
    afterAll(async () => {
      await suite.connection.request("DELETE", `${crdPath}/gadgets.${group}`);
      await eventually(
        () => suite.connection.request("GET", gadgets()),
        ({ status }) => status === 404,
      );
    });

    test("are discovered and described", async () => {
      // Discovery follows a definition by itself, not with its first answer.
      const list = (
        await eventually(
          () => suite.connection.request("GET", `/apis/${group}/v1`),
          ({ status }) => status === 200,
        )
      ).body;
      expect(list.resources.map((each: Body) => each.name)).toEqual(
        expect.arrayContaining(["gadgets", "gadgets/status", "gadgets/scale"]),
      );
      const document = await eventually(
        () => suite.connection.request("GET", `/openapi/v3/apis/${group}/v1`),
        ({ status }) => status === 200,
      );
      expect(document.text).toContain('"kind":"Gadget"');
    });

    test("get defaults, also in list items", async () => {
      const made = await suite.create(gadgets(), gadget("defaults", { ports: [{ name: "web" }] }));
      expect(made.spec).toMatchObject({ color: "red", ports: [{ name: "web", number: 80 }] });
      expect(made.metadata.generation).toBe(1);
    });

    test("lose unknown fields, or are refused for them", async () => {
      const body = gadget("pruned", { surplus: 1, free: { any: { thing: 1 } } });
      const made = await post(body, "?fieldValidation=Ignore");
      expect(made.body.spec.surplus).toBeUndefined();
      expect(made.body.spec.free).toEqual({ any: { thing: 1 } });
      const strict = await post(gadget("strict", { surplus: 1 }), "?fieldValidation=Strict");
      expect(refused(strict, 400, "BadRequest")).toContain('unknown field "spec.surplus"');
      const warned = await post(gadget("warned", { surplus: 1 }), "?fieldValidation=Warn&dryRun=All");
      expect(warned.headers.warning).toContain('unknown field \\"spec.surplus\\"');
    });

    test.each<[string, Body, string, string]>([
      [
        "too small",
        { size: 0 },
        "spec.size",
        "Invalid value: 0: spec.size in body should be greater than or equal to 1",
      ],
      ["too large", { size: 101 }, "spec.size", "should be less than or equal to 100"],
      ["of another type", { size: "3" }, "spec.size", 'must be of type integer: "string"'],
      [
        "not in the enumeration",
        { color: "blue" },
        "spec.color",
        'Unsupported value: "blue": supported values: "red", "green"',
      ],
      ["against the pattern", { code: "A1" }, "spec.code", "should match '^[a-z]+$'"],
      ["too long", { code: "a".repeat(21) }, "spec.code", "Too long"],
      ["too many", { tags: ["a", "b", "c", "d", "e", "f"] }, "spec.tags", "must have at most 5 items"],
      ["twice in a set", { tags: ["a", "a"] }, "spec.tags[1]", 'Duplicate value: "a"'],
      [
        "twice in a map list",
        { ports: [{ name: "a" }, { name: "a", number: 2 }] },
        "spec.ports[1]",
        "Duplicate value",
      ],
      ["of a wrong format", { when: "yesterday" }, "spec.when", "date-time"],
      ["negative in a map", { weights: { a: -1 } }, "spec.weights.a", "greater than or equal to 0"],
      ["neither int nor string", { limit: true }, "spec.limit", "must be of type"],
    ])("refuse a value that is %s", async (_name, spec, field, text) => {
      const answer = await post(gadget("bad", spec));
      const message = refused(answer, 422, "Invalid");
      expect(message).toContain(`Gadget.${group} "bad" is invalid`);
      expect(answer.body.details.causes.map((cause: Body) => cause.field)).toContain(field);
      expect(message).toContain(text);
    });

    test("refuse a missing field", async () => {
      const answer = await post({
        apiVersion: `${group}/v1`,
        kind: "Gadget",
        metadata: { name: "bad" },
        spec: { left: "l" },
      });
      expect(refused(answer, 422, "Invalid")).toContain("spec.size: Required value");
      expect(answer.body.details.causes[0].reason).toBe("FieldValueRequired");
    });

    test("keep int-or-string as given", async () => {
      expect((await suite.create(gadgets(), gadget("int", { limit: 5 }))).spec.limit).toBe(5);
      expect((await suite.create(gadgets(), gadget("text", { limit: "50%" }))).spec.limit).toBe("50%");
    });

    test.each<[string, Body, string, string]>([
      [
        "across fields, with a message made for it",
        { size: 9, maximum: 5, code: "five" },
        "spec",
        "size exceeds its maximum of five",
      ],
      [
        "with a field and a reason of its own",
        { right: "r" },
        "spec.left",
        "Forbidden: exactly one of left and right must be set",
      ],
      [
        "over lists",
        {
          ports: [
            { name: "a", number: 1 },
            { name: "b", number: 1 },
          ],
        },
        "spec",
        "port numbers must be unique",
      ],
      [
        "on a single string, without a message",
        { link: "http://x" },
        "spec.link",
        "failed rule: self.startsWith('https://')",
      ],
    ])("obey CEL rules %s", async (_name, spec, field, text) => {
      const answer = await post(gadget("rule", spec));
      expect(refused(answer, 422, "Invalid")).toContain(text);
      expect(answer.body.details.causes.map((cause: Body) => cause.field)).toContain(field);
    });

    test("obey rules at the root, which see the name", async () => {
      expect(refused(await post(gadget("forbidden-name")), 422, "Invalid")).toContain(
        "this name is not for gadgets",
      );
    });

    test("obey transition rules on updates only", async () => {
      await suite.create(gadgets(), gadget("transition", { fixed: "a" }));
      expect(refused(await merge("transition", { spec: { fixed: "b" } }), 422, "Invalid")).toContain(
        "spec.fixed",
      );
      expect((await merge("transition", { spec: { size: 4 } })).body.spec.size).toBe(4);
    });

    test("have a status of its own, and generations", async () => {
      const made = await suite.create(gadgets(), { ...gadget("status"), status: { phase: "Mine" } });
      expect(made.status).toBeUndefined();
      const status = await suite.connection.request(
        "PATCH",
        `${gadgets("status")}/status`,
        { spec: { size: 50 }, status: { phase: "Ready", surplus: 1 } },
        { contentType: MERGE },
      );
      expect(status.body).toMatchObject({
        spec: { size: 3 },
        status: { phase: "Ready" },
        metadata: { generation: 1 },
      });
      expect(status.body.status.surplus).toBeUndefined();
      const spec = await merge("status", { spec: { size: 4 }, status: { phase: "Stolen" } });
      expect(spec.body).toMatchObject({ status: { phase: "Ready" }, metadata: { generation: 2 } });
      const put = await suite.connection.request("PUT", `${gadgets("status")}/status`, {
        ...spec.body,
        spec: { size: 1 },
        status: { phase: "Put" },
      });
      expect(put.body).toMatchObject({ spec: { size: 4 }, status: { phase: "Put" } });
    });

    test("scale through the paths of the definition", async () => {
      await suite.create(gadgets(), gadget("scaled"));
      const scale = await suite.connection.request(
        "PATCH",
        `${gadgets("scaled")}/scale`,
        { spec: { replicas: 7 } },
        { contentType: MERGE },
      );
      expect(scale.body.spec.replicas).toBe(7);
      expect((await suite.connection.request("GET", gadgets("scaled"))).body.spec.size).toBe(7);
    });

    test("must be replaced under their version", async () => {
      const made = await suite.create(gadgets(), gadget("versioned"));
      const { resourceVersion: _version, ...metadata } = made.metadata;
      refused(
        await suite.connection.request("PUT", gadgets("versioned"), { ...made, metadata }),
        422,
        "Invalid",
      );
      await merge("versioned", { spec: { size: 4 } });
      refused(await suite.connection.request("PUT", gadgets("versioned"), made), 409, "Conflict");
    });

    test("take no strategic patches", async () => {
      await suite.create(gadgets(), gadget("strategic"));
      refused(
        await suite.connection.request(
          "PATCH",
          gadgets("strategic"),
          {},
          { contentType: "application/strategic-merge-patch+json" },
        ),
        415,
        "UnsupportedMediaType",
      );
    });

    test("are printed in the columns of the definition", async () => {
      await suite.create(gadgets(), gadget("columns", { ports: [{ name: "web", number: 8080 }] }));
      const table = (
        await suite.connection.request("GET", gadgets("columns"), undefined, {
          accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
        })
      ).body;
      expect(table.columnDefinitions.map((each: Body) => each.name)).toEqual([
        "Name",
        "Size",
        "Phase",
        "Port",
        "Age",
      ]);
      expect(table.rows[0].cells.slice(0, 4)).toEqual(["columns", 3, null, 8080]);
    });

    test("a watch from before their definition ends with 410, as an event", async () => {
      const watch = await suite.connection.watch(`${gadgets()}?watch=true&resourceVersion=1`);
      expect(watch.status).toBe(200);
      const { object } = await watch.until((event) => event.type === "ERROR");
      expect(object).toMatchObject({ kind: "Status", status: "Failure", reason: "Expired", code: 410 });
      await watch.ended;
    });

    test("server-side apply follows the schema's lists", async () => {
      const apply = (manager: string, spec: Body) =>
        suite.connection.request(
          "PATCH",
          `${gadgets("applied")}?fieldManager=${manager}`,
          { ...gadget("applied"), spec },
          { contentType: "application/apply-patch+yaml" },
        );
      expect(
        (await apply("one", { size: 3, left: "l", ports: [{ name: "a", number: 1 }], tags: ["x"] })).status,
      ).toBe(201);
      const both = await apply("two", { ports: [{ name: "b", number: 2 }], tags: ["y"] });
      expect(both.status, both.text).toBe(200);
      expect(both.body.spec.ports.map((each: Body) => each.name).sort()).toEqual(["a", "b"]);
      expect(new Set(both.body.spec.tags)).toEqual(new Set(["x", "y"]));
      refused(await apply("two", { ports: [{ name: "a", number: 9 }] }), 409, "Conflict");
    });

    test("a definition that is not structural, or whose rule does not compile, is refused", async () => {
      const broken = (change: (schema: Body) => void): Body => {
        const crd = gadgetCrd(`broken.${group}`);
        const schema = structuredClone(gadgetSchema) as Body;
        change(schema);
        crd.spec.versions[0].schema.openAPIV3Schema = schema;
        return crd;
      };
      const withoutType = broken((schema) => delete schema.properties.spec.properties.size.type);
      expect(refused(await suite.connection.request("POST", crdPath, withoutType), 422, "Invalid")).toContain(
        "size",
      );
      const badRule = broken((schema) => {
        schema.properties.spec["x-kubernetes-validations"] = [{ rule: "self.size >" }];
      });
      expect(refused(await suite.connection.request("POST", crdPath, badRule), 422, "Invalid")).toContain(
        "compilation failed",
      );
      const badName = { ...gadgetCrd(group), metadata: { name: "other.example.com" } };
      refused(await suite.connection.request("POST", crdPath, badName), 422, "Invalid");
    });
  });
}
