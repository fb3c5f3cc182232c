import type { Function as FunctionObject, FunctionReference } from "../../../api/kinds/index.ts";
import {
  FUNCTIONS,
  HTTP_TRIGGERS,
  KUBERNETES_WATCH_TRIGGERS,
  MESSAGE_QUEUE_TRIGGERS,
  TIME_TRIGGERS,
} from "../../../kube/kinds.ts";
import type { KubeObject } from "../../../kube/object.ts";
import type { ResourceType } from "../../../kube/resource.ts";
import { type Command, defineCommand, type Flags } from "../../command.ts";
import {
  deleteCommand,
  getCommand,
  listCommand,
  type NounKind,
  waitCommand,
  yamlOf,
} from "../../generic-verbs.ts";
import { findVersion } from "../../releases/chosen-revisions.ts";
import { createFunction, updateFunction } from "./change.ts";
import { describeFunction } from "./describe.ts";
import { runContainer, updateContainer } from "./container.ts";
import { functionLog, functionMeta, functionPods, testFunction } from "./observe.ts";
import { versionCommands } from "./versions.ts";

type Trigger = KubeObject & { spec: { functionref?: FunctionReference | undefined } };
const TRIGGERS: readonly ResourceType<Trigger>[] = [
  HTTP_TRIGGERS,
  TIME_TRIGGERS,
  MESSAGE_QUEUE_TRIGGERS,
  KUBERNETES_WATCH_TRIGGERS,
];

const KIND: NounKind<FunctionObject> = {
  noun: "fn",
  type: FUNCTIONS,
  columns: [
    { header: "ENV", value: ({ spec }) => spec.environment.name },
    {
      header: "EXECUTOR",
      value: ({ spec }) => spec.InvokeStrategy.ExecutionStrategy?.ExecutorType || "poolmgr",
    },
    { header: "REVISION", value: ({ status }) => status?.serving?.revision },
    { header: "PACKAGE", value: ({ spec }) => spec.package.packageref?.name, wide: true },
    { header: "CONCURRENCY", value: ({ spec }) => spec.concurrency, wide: true },
    { header: "REQUESTS/POD", value: ({ spec }) => spec.requestsPerPod, wide: true },
  ],
};

const get = getCommand(KIND);
const GET_FLAGS: Flags = {
  ...get.flags,
  version: { type: "string", help: "Show this version of it" },
};
const getFunction: Command = defineCommand({
  ...get,
  summary: "Show a function, or one of its versions",
  flags: GET_FLAGS,
  async run(input, context) {
    const { name, version, output } = input.flags;
    if (typeof name !== "string" || typeof version !== "string") return get.run(input, context);
    const found = await findVersion(context, name, version);
    context.out(output === "json" ? `${JSON.stringify(found, null, 2)}\n` : yamlOf(found));
    return 0;
  },
});

const remove = deleteCommand(KIND);
/** Triggers stay, as in the reference system; but who deletes a function should know of them. */
const deleteFunction: Command = defineCommand({
  ...remove,
  summary: "Delete a function; its triggers stay",
  async run(input, context) {
    const code = await remove.run(input, context);
    const { name } = input.flags;
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const left: string[] = [];
    for (const type of TRIGGERS)
      for (const { metadata, spec } of (await kube.list(type, { namespace })).items)
        if (spec.functionref?.name === name && spec.functionref?.type !== "workflow")
          left.push(`${type.kind.toLowerCase()}/${metadata.name}`);
    if (left.length > 0)
      context.note(`Still there, and waiting for a function "${String(name)}": ${left.join(", ")}`);
    return code;
  },
});

export const fnCommands: readonly Command[] = [
  createFunction,
  updateFunction,
  getFunction,
  runContainer,
  updateContainer,
  functionMeta,
  describeFunction,
  listCommand(KIND),
  deleteFunction,
  functionLog,
  testFunction,
  functionPods,
  ...versionCommands,
  waitCommand(KIND),
];
