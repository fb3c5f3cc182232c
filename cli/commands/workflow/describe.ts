import { WORKFLOWS } from "../../../kube/kinds.ts";
import { type Command, defineCommand } from "../../command.ts";
import { notFound } from "../../generic-verbs.ts";
import { age, table } from "../../output.ts";
import { listRuns } from "../../workflows/run-client.ts";
import { tookText } from "../../workflows/run-text.ts";

const RUNS_SHOWN = 5;

/** `isotope workflow describe`. */
export const describeWorkflow: Command = defineCommand({
  noun: "workflow",
  verb: "describe",
  summary: "Show a workflow: what it is made of, whether it can be run, its last runs",
  positionals: [{ name: "name", help: "Workflow", flag: "name" }],
  flags: { name: { type: "string", help: "Workflow", required: true } },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const found = await kube.find(WORKFLOWS, { namespace, name: flags.name });
    if (!found) throw notFound("workflow", "Workflow", flags.name, namespace);
    const { metadata, spec, status } = found;
    const madeOf = spec.package
      ? `package "${spec.package.name ?? ""}", export ${spec.export ?? "default"}`
      : `${Object.keys(spec.states ?? {}).length} states from "${spec.startAt ?? ""}" on`;
    const lines: [string, string][] = [
      ["Workflow", `${namespace}/${metadata.name}, generation ${metadata.generation ?? 0}`],
      ["Made of", madeOf],
      ["Definition", status?.definition?.digest ?? "none yet"],
      ["Timeout", spec.timeout ?? ""],
    ];
    for (const [name, text] of lines) if (text !== "") context.out(`${`${name}:`.padEnd(12)}${text}\n`);
    const conditions = (status?.conditions ?? []).map(({ type, status, reason, message }) => [
      type,
      status,
      reason,
      message,
    ]);
    if (conditions.length > 0)
      context.out(`\nConditions:\n${table(["TYPE", "STATUS", "REASON", "MESSAGE"], conditions)}`);
    const runs = await listRuns(context, { namespace, workflow: metadata.name }, RUNS_SHOWN).catch(
      (error: unknown) => {
        context.note(`Its runs cannot be shown: ${error instanceof Error ? error.message : String(error)}`);
        return [];
      },
    );
    if (runs.length > 0)
      context.out(
        `\nLast runs:\n${table(
          ["NAME", "STATUS", "STATES", "AGE", "TOOK"],
          runs.map(({ id, status, states, startedAt, finishedAt }) => [
            id,
            status,
            states.join(","),
            age(startedAt),
            tookText(startedAt, finishedAt),
          ]),
        )}`,
      );
    return 0;
  },
});
