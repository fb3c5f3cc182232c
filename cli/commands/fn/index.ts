import type { Function as FunctionObject } from "../../../api/kinds/index.ts";
import { FUNCTIONS } from "../../../kube/kinds.ts";
import type { Command } from "../../command.ts";
import { deleteCommand, getCommand, listCommand, type NounKind, waitCommand } from "../../generic-verbs.ts";
import { createFunction, updateFunction } from "./change.ts";
import { describeFunction, functionLog, functionMeta, functionPods, testFunction } from "./observe.ts";
import { versionCommands } from "./versions.ts";

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

export const fnCommands: readonly Command[] = [
  createFunction,
  updateFunction,
  getCommand(KIND),
  functionMeta,
  describeFunction,
  listCommand(KIND),
  deleteCommand(KIND),
  functionLog,
  testFunction,
  functionPods,
  ...versionCommands,
  waitCommand(KIND),
];
