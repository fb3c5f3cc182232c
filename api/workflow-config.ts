import { z } from "zod";
import { ConfigDuration } from "./config-values.ts";
import { FunctionConfig } from "./function-config.ts";

const { name, methods, cors, environment, typeCheck } = FunctionConfig.shape;

/**
 * `export const config = {...}` of a workflow's file, read as that of a function is. From it, and from the file's name, come the Workflow, Package and
 * HTTPTrigger objects.
 */
export const WorkflowConfig = z.strictObject({
  name: name.describe("Name of the workflow; default: the file's or folder's name"),
  route: FunctionConfig.shape.route.describe("Where a call starts a run; default: nowhere"),
  wait: ConfigDuration.optional().describe(
    "How long a call waits for the end of its run; default: it gets the run's address at once",
  ),
  methods,
  cors,
  export: z.string().optional().describe("Named export that is the workflow; default: the default export"),
  environment,
  typeCheck,
});
export type WorkflowConfig = z.input<typeof WorkflowConfig>;
