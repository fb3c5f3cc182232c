import { describe, expect, it } from "vitest";
import { KINDS } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { KubeError } from "../../kube/kube-error.ts";
import { BAD_OBJECTS, VALID_SPECS } from "./bad-objects.ts";

export function expectSays(text: string, says: readonly (string | RegExp)[]): void {
  for (const part of says) {
    if (typeof part === "string") expect(text).toContain(part);
    else expect(text).toMatch(part);
  }
}

/** Puts a value at a path of an object; `undefined` removes what is there. */
function put(object: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  let at: object = object;
  for (const key of keys) {
    const next: unknown = Reflect.get(at, key) ?? {};
    if (typeof next !== "object" || next === null) throw new Error(`"${key}" of ${path} holds no fields`);
    Reflect.set(at, key, next);
    at = next;
  }
  if (value === undefined) Reflect.deleteProperty(at, last);
  else Reflect.set(at, last, value);
}

const refused = async (work: Promise<unknown>): Promise<KubeError> => {
  const error: unknown = await work.then(
    () => new Error("It was accepted"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof KubeError) return error;
  throw error;
};

/** Every bad object of the table, sent to an API server that has the platform's definitions. `connect` is called once the tests run. */
export function refusedObjects(connect: () => { kube: KubeClient; namespace: string }): void {
  describe("the Kubernetes API refuses", () => {
    it.each(
      BAD_OBJECTS.map(
        (row) => [row.kind, row.path, JSON.stringify(row.value)?.slice(0, 60) ?? "absent", row] as const,
      ),
    )("%s: %s %s", async (kind, path, _value, row) => {
      const { kube, namespace } = connect();
      const definition = KINDS.find((candidate) => candidate.kind === kind);
      const where = definition?.scope === "Cluster" ? "" : `/namespaces/${namespace}`;
      const collection = `/apis/fission.io/v1${where}/${definition?.plural}`;
      const query = { fieldValidation: "Strict" };
      const name = row.update ? "there" : "bad";
      const body: Record<string, unknown> = structuredClone({
        apiVersion: "fission.io/v1",
        kind,
        metadata: { name },
        spec: VALID_SPECS[kind],
      });
      if (row.update) await kube.request({ method: "POST", path: collection, body, query });
      // A merge patch is not in the way of the controllers' own writes.
      const sent: Record<string, unknown> = row.update ? {} : body;
      put(sent, path, row.value);
      const error = await refused(
        row.update
          ? kube.request({
              method: "PATCH",
              path: `${collection}/${name}`,
              body: sent,
              contentType: "application/merge-patch+json",
              query,
            })
          : kube.request({ method: "POST", path: collection, body, query }),
      );
      if (row.update) await kube.request({ method: "DELETE", path: `${collection}/${name}` });
      expect(error.status).toBe(row.status ?? 422);
      expect(error.reason).toBe(row.status === 400 ? "BadRequest" : "Invalid");
      expectSays(error.message, row.says);
    });

    it("calls without a token, and bodies that are no JSON", async () => {
      const { kube, namespace } = connect();
      const path = `/apis/fission.io/v1/namespaces/${namespace}/functions`;
      expect(
        (await refused(kube.request({ method: "POST", path, body: "{", contentType: "application/json" })))
          .status,
      ).toBe(400);
      expect(
        (await refused(kube.request({ method: "POST", path, body: "a", contentType: "text/html" }))).status,
      ).toBe(415);
      expect(
        (await refused(kube.request({ method: "GET", path: "/apis/fission.io/v9/functions" }))).status,
      ).toBe(404);
    });
  });
}
