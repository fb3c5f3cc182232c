import type { z } from "zod";
import type { Json } from "../core/json.ts";
import type { Problem } from "../definition/check-machine.ts";
import {
  type Action,
  type Definition,
  DefinitionError,
  type DefinitionFacts,
  type Transition,
} from "../definition/definition.ts";
import type { CodeSource, DefinitionHost, HostAnswer } from "./definition-host.ts";
import { DescribeAnswer, TransitionAnswer } from "./host-messages.ts";

/** A definition whose code runs in a host. Rejects with `DefinitionError` when the code cannot be loaded. */
export async function hostedDefinition(
  host: DefinitionHost,
  source: CodeSource,
): Promise<{ readonly definition: Definition; readonly problems: readonly Problem[] }> {
  const { facts, problems } = checked(DescribeAnswer, await host.call(source, "describe", []));
  const transition = async (method: "start" | "transition", args: readonly string[]): Promise<Transition> => {
    const answer = await host.call(source, method, args);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema says the same; it marks absent fields as undefined
    const made = checked(TransitionAnswer, answer) as Transition;
    return answer.lines.length === 0 ? made : { ...made, actions: [...made.actions, ...logged(answer)] };
  };
  const fault = async (method: "checkInput" | "checkEvent", value: Json): Promise<string | undefined> => {
    const { value: said } = await host.call(source, method, [JSON.stringify(value)]);
    if (said === null || said === undefined) return undefined;
    return typeof said === "string" ? said : "the definition refuses it";
  };
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
    problems: problems as readonly Problem[],
    definition: {
      digest: source.digest,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as above
      facts: facts as DefinitionFacts,
      start: (input) => transition("start", [JSON.stringify(input)]),
      transition: (snapshot, event) => transition("transition", [snapshot, JSON.stringify(event)]),
      checkEvent: (event) => fault("checkEvent", event),
      checkInput: (input) => fault("checkInput", input),
    },
  };
}

const logged = ({ lines }: HostAnswer): Action[] =>
  lines.map(({ label, value }) => ({ kind: "log", label: `console.${label}`, value }));

function checked<Schema extends z.ZodType>(schema: Schema, { value }: HostAnswer): z.infer<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new DefinitionError(
    "definition_invalid",
    `The definition gave an answer of a form that no definition gives: "${issue?.path.join(".") ?? ""}" ${issue?.message ?? ""}`,
  );
}
