import type { CanaryConfig } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { CANARY_CONFIGS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { type Command, defineCommand } from "../command.ts";
import {
  deleteCommand,
  getCommand,
  listCommand,
  type NounKind,
  notFound,
  waitCommand,
} from "../generic-verbs.ts";
import { checkName } from "../names.ts";
import { applyGates, applySteps, GATE_FLAGS, STEP_FLAGS } from "../releases/canary-flags.ts";
import { createOrSave, SAVE_FLAGS } from "../save.ts";

const KIND: NounKind<CanaryConfig> = {
  noun: "canary",
  type: CANARY_CONFIGS,
  columns: [
    { header: "TRIGGER", value: ({ spec }) => spec.trigger },
    { header: "NEW", value: ({ spec }) => spec.newfunction },
    { header: "OLD", value: ({ spec }) => spec.oldfunction },
    { header: "WEIGHT", value: ({ status }) => (status?.weight === undefined ? "" : `${status.weight} %`) },
    { header: "STATUS", value: ({ status }) => status?.phase ?? status?.status ?? "pending" },
    { header: "WHY", value: ({ status }) => status?.sentence, wide: true },
  ],
};

export const canaryCommands: readonly Command[] = [
  defineCommand({
    noun: "canary",
    verb: "create",
    summary: "Move a route's traffic to a new function or version step by step, or back",
    description:
      "The route either has weights of two functions (newfunction and oldfunction are their names), or an alias (they are versions of its function).",
    examples: [
      "isotope canary create --name hello --httptrigger hello --newfunction hello-v2 --oldfunction hello-v1 --steps 5%,25%,50%",
      "isotope canary create --name shop --httptrigger shop --newfn shop-b --oldfn shop-a --step 20 --interval 2m --threshold 10",
    ],
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      httptrigger: {
        type: "string",
        aliases: ["trigger"],
        help: "Route whose traffic is split",
        required: true,
      },
      newfunction: { type: "string", aliases: ["newfn"], help: "New function or version", required: true },
      oldfunction: { type: "string", aliases: ["oldfn"], help: "Old function or version", required: true },
      ...STEP_FLAGS,
      ...GATE_FLAGS,
      ...SAVE_FLAGS,
    },
    async run({ flags, given }, context) {
      const name = checkName(flags.name);
      const namespace = await context.namespace();
      const base: CanaryConfig["spec"] = {
        trigger: flags.httptrigger,
        newfunction: flags.newfunction,
        oldfunction: flags.oldfunction,
      };
      const spec = applyGates(applySteps(base, flags), flags, given);
      if (
        !flags.spec &&
        !flags.dry &&
        !(await (await context.kube()).find(HTTP_TRIGGERS, { namespace, name: flags.httptrigger }))
      )
        throw notFound("httptrigger", "HTTPTrigger", flags.httptrigger, namespace);
      return createOrSave(
        context,
        CANARY_CONFIGS,
        { apiVersion: API_GROUP_VERSION, kind: "CanaryConfig", metadata: { name, namespace }, spec },
        flags,
      );
    },
  }),
  defineCommand({
    noun: "canary",
    verb: "update",
    summary: "Change the steps or the limits of a canary",
    positionals: [{ name: "name", help: "Name", flag: "name" }],
    flags: {
      name: { type: "string", help: "Name", required: true },
      ...STEP_FLAGS,
      ...GATE_FLAGS,
    },
    async run({ flags, given }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      await changeObject(kube, KIND, { namespace, name: flags.name }, (live) => ({
        ...live,
        spec: applyGates(applySteps(live.spec, flags), flags, given),
      }));
      context.out(`canaryconfig "${flags.name}" updated\n`);
      return 0;
    },
  }),
  getCommand(KIND),
  listCommand(KIND),
  deleteCommand(KIND),
  waitCommand(KIND),
];
