import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { ROOT } from "../../scripts/images/image-table.ts";
import { runCommand } from "../../scripts/images/run-command.ts";
import type { Cluster } from "./cluster.ts";

const CHART = join(ROOT, "charts", "isotope");
const KUBE_VERSION = "1.34.0";

const Rendered = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
});
/** An object that the chart makes. */
export type Rendered = z.infer<typeof Rendered>;

/** What the chart makes of values (`path=value`, or JSON as `path:json`). Throws with Helm's message when it refuses them. */
export async function renderChart(
  cluster: Pick<Cluster, "helm">,
  values: readonly string[] = [],
  release = "isotope",
  namespace = "isotope",
): Promise<Rendered[]> {
  const sets = values.flatMap((value) =>
    /^[\w.]+=[[{]/.test(value) ? ["--set-json", value] : ["--set", value],
  );
  const text = await runCommand(cluster.helm, [
    "template",
    release,
    CHART,
    "--namespace",
    namespace,
    "--kube-version",
    KUBE_VERSION,
    ...sets,
  ]);
  return parseAllDocuments(text, { version: "1.1" })
    .map((document) => {
      const [error] = document.errors;
      if (error) throw error;
      return document.toJS() as unknown;
    })
    .filter((content) => content !== null && content !== undefined)
    .map((content) => Rendered.parse(content));
}

export const lintChart = (cluster: Pick<Cluster, "helm">): Promise<string> =>
  runCommand(cluster.helm, ["lint", "--strict", CHART]);
