import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { KubeError } from "../../kube/kube-error.ts";
import { CEL_CASES, CEL_REFUSED, specWith } from "../../localkube/schema/cel-cases.ts";
import { ROOT } from "../../scripts/images/image-table.ts";
import { refusedObjects } from "../inputs/refused-objects.ts";
import { currentCluster } from "./cluster.ts";

const CRDS = join(ROOT, "charts", "isotope", "files", "crds");
const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const Named = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });

let kube: KubeClient;
let namespace = "";
beforeAll(async () => {
  kube = await createKubeClient({ kubeconfig: currentCluster().kubeconfig });
  const made = await kube.request({
    method: "POST",
    path: "/api/v1/namespaces",
    body: { metadata: { generateName: "definitions-" } },
  });
  namespace = Named.parse(made).metadata.name;
});
afterAll(async () => {
  await kube.request({ method: "DELETE", path: `/api/v1/namespaces/${namespace}` });
  await kube.close();
});

const crds = readdirSync(CRDS).map((file) => Named.parse(parse(readFileSync(join(CRDS, file), "utf8"))));

it.each(crds.map((crd) => [crd.metadata.name, crd] as const))(
  "the API server takes %s with its rules, now and under another name",
  async (name, crd) => {
    const query = { fieldManager: "definitions-test", force: true, dryRun: "All", fieldValidation: "Strict" };
    const contentType = "application/apply-patch+yaml";
    const path = `${DEFINITIONS}/${name}`;
    await kube.request({ method: "PATCH", path, query, body: crd, contentType });
    // One that is there already may keep rules that a new one may not have.
    const group = `copy-${randomBytes(4).toString("hex")}.example.com`;
    const copy = structuredClone(crd);
    copy.metadata.name = name.replace(/\..*/, `.${group}`);
    copy["spec"] = { ...z.looseObject({}).parse(crd["spec"]), group };
    await kube.request({
      method: "POST",
      path: DEFINITIONS,
      query: { dryRun: "All", fieldValidation: "Strict" },
      body: copy,
    });
  },
);

refusedObjects(() => ({ kube, namespace }));

describe("CEL rules mean what they mean on localkube", () => {
  const group = `cel-${randomBytes(4).toString("hex")}.example.com`;
  const definition = (specs: Record<string, unknown>) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `rules.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural: "rules", singular: "rule", kind: "Rule" },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object", properties: specs } },
        },
      ],
    },
  });
  // A rule that reads a field that the schema lacks is refused with the definition, as localkube refuses the value.
  const cases = CEL_CASES.filter(([rule]) => !rule.includes("missing"));

  beforeAll(async () => {
    const specs = Object.fromEntries(cases.map(([rule], at) => [`case${at}`, specWith(rule)]));
    await kube.request({ method: "POST", path: DEFINITIONS, body: definition(specs) });
    await vi.waitFor(
      () => kube.request({ method: "GET", path: `/apis/${group}/v1/namespaces/${namespace}/rules` }),
      { timeout: 30_000, interval: 100 },
    );
  });
  afterAll(async () => {
    await kube.request({ method: "DELETE", path: `${DEFINITIONS}/rules.${group}` });
  });

  it.each(cases.map(([rule, spec, holds], at) => [rule, spec, holds, at] as const))(
    "%s on %j is %s",
    async (_rule, spec, holds, at) => {
      const answer = await kube
        .request({
          method: "POST",
          path: `/apis/${group}/v1/namespaces/${namespace}/rules`,
          query: { dryRun: "All", fieldValidation: "Strict" },
          body: { apiVersion: `${group}/v1`, kind: "Rule", metadata: { name: "x" }, [`case${at}`]: spec },
        })
        .then(
          () => "taken",
          (error: unknown) =>
            error instanceof KubeError ? `${error.status} ${error.message}` : String(error),
        );
      if (holds) expect(answer).toBe("taken");
      else expect(answer).toContain("422");
    },
  );

  it.each(CEL_REFUSED)("%s makes no rule", async (rule) => {
    const error: unknown = await kube
      .request({
        method: "POST",
        path: DEFINITIONS,
        query: { dryRun: "All" },
        body: definition({ spec: specWith(rule) }),
      })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KubeError);
    expect(error).toMatchObject({ status: 422 });
  });
});
