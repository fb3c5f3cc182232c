import type { z } from "zod";
import type { HTTPTrigger, Package, Workflow } from "../../api/kinds/index.ts";
import { ANNOTATION_WORKFLOW_WAIT, API_GROUP_VERSION } from "../../api/names.ts";
import type { WorkflowConfig } from "../../api/workflow-config.ts";
import { objectMetadata, packageObject, type Target, triggerName, triggerSpec } from "./desired-objects.ts";

type Config = z.infer<typeof WorkflowConfig>;

export interface WorkflowObjects {
  package: Package;
  workflow: Workflow;
  triggers: HTTPTrigger[];
}

const MAX_NAME = 63;
const PREFIX = "workflow-";

/** Packages and routes of workflows have names of their own: a function of the same name has them too. */
const ownName = (name: string): string => `${PREFIX}${name}`.slice(0, MAX_NAME).replace(/-+$/, "");

/** The resources that a workflow's file stands for. */
export function workflowObjects(
  name: string,
  config: Config,
  source: { digest: string; entry: string },
  target: Target,
): WorkflowObjects {
  const { namespace } = target;
  const wait = config.wait === undefined ? undefined : waitText(config.wait);
  return {
    package: packageObject(ownName(name), config, source, target),
    workflow: {
      apiVersion: API_GROUP_VERSION,
      kind: "Workflow",
      metadata: objectMetadata(name, target),
      spec: {
        package: { namespace, name: ownName(name) },
        ...(config.export === undefined ? {} : { export: config.export }),
      },
    },
    triggers: routesOf(config).map((route, at) => ({
      apiVersion: API_GROUP_VERSION,
      kind: "HTTPTrigger",
      metadata: objectMetadata(
        triggerName(ownName(name), route, at === 0),
        target,
        wait === undefined ? undefined : { [ANNOTATION_WORKFLOW_WAIT]: wait },
      ),
      spec: triggerSpec({ type: "workflow", name }, route, {
        ...config,
        methods: config.methods ?? ["POST"],
      }),
    })),
  };
}

const waitText = (wait: number | string): string => (typeof wait === "number" ? `${wait}s` : wait);

const routesOf = ({ route }: Config) =>
  route === undefined || route === false
    ? []
    : [route].flat().map((one) => (typeof one === "string" ? { path: one } : one));
