import { z } from "zod";
import { OpsStatus } from "../../api/wire/ops.ts";
import { KINDS } from "../../api/kinds/index.ts";
import { API_GROUP } from "../../api/names.ts";
import { type Command, defineCommand } from "../command.ts";
import { age, OUTPUT_FLAG } from "../output.ts";
import { ownVersion } from "../version.ts";
import { stringify } from "yaml";

export const status: Command = defineCommand({
  noun: "",
  verb: "status",
  summary: "Show whether the platform is well, and what is wrong",
  flags: { output: OUTPUT_FLAG },
  async run({ flags }, context) {
    const reply = await (await context.ops()).call("/v1/status");
    const state = OpsStatus.parse(await reply.body.json());
    if (flags.output === "json") context.out(`${JSON.stringify(state, null, 2)}\n`);
    else if (flags.output === "yaml") context.out(stringify(state));
    else {
      const platform = context.platform();
      const routerUrl = context.routerUrl();
      const pods = Object.entries(state.counts.pods).map(([name, count]) => `${count} ${name || "other"}`);
      context.out(
        [
          `Isotope ${state.version}, running for ${age(state.startedAt)}${platform ? `, in ${platform.home}` : ""}`,
          ...(routerUrl ? [`  functions   ${routerUrl}`] : []),
          ...(platform
            ? [
                `  operations  ${platform.opsUrl}`,
                `  kubernetes  ${state.kubernetes.server} (KUBECONFIG=${platform.kubeconfig})`,
              ]
            : [`  kubernetes  ${state.kubernetes.server} ${state.kubernetes.version}`]),
          ...state.components.map(
            ({ name, status: how, message }) => `  ${name.padEnd(11)} ${how}${message ? `: ${message}` : ""}`,
          ),
          `  ${state.counts.functionsReady} of ${state.counts.functions} functions ready, ${state.counts.httpTriggers} routes, ${state.counts.environments} environments, pods: ${pods.join(", ") || "none"}`,
          ...state.problems.map(
            (problem) =>
              `  ! ${problem.kind.toLowerCase()}/${problem.name} (${problem.namespace}) ${problem.reason}: ${problem.message}`,
          ),
          "",
        ].join("\n"),
      );
    }
    return state.components.some(({ status: how }) => how === "down") ? 1 : 0;
  },
});

const Version = z.object({ gitVersion: z.string() });

export const version: Command = defineCommand({
  noun: "",
  verb: "version",
  summary: "Show versions",
  flags: { "client-only": { type: "boolean", help: "Only of this program" }, output: OUTPUT_FLAG },
  async run({ flags }, context) {
    const versions: Record<string, string> = { client: ownVersion(), node: process.version };
    if (!flags["client-only"]) {
      try {
        const kube = await context.kube();
        versions.kubernetes = Version.parse(
          await kube.request({ method: "GET", path: "/version" }),
        ).gitVersion;
        versions.server = OpsStatus.parse(
          await (await (await context.ops()).call("/v1/status")).body.json(),
        ).version;
      } catch (error) {
        context.note(`Server: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (flags.output === "json") context.out(`${JSON.stringify(versions)}\n`);
    else for (const [name, value] of Object.entries(versions)) context.out(`${name}: ${value}\n`);
    return 0;
  },
});

export const check: Command = defineCommand({
  noun: "",
  verb: "check",
  summary: "Check that everything that the platform needs is there",
  flags: { pre: { type: "boolean", help: "Only what must be there before an installation" } },
  async run({ flags }, context) {
    let failures = 0;
    const tell = (good: boolean, text: string): void => {
      if (!good) failures++;
      context.out(`${good ? "ok  " : "FAIL"} ${text}\n`);
    };
    const kube = await context.kube();
    try {
      const { gitVersion } = Version.parse(await kube.request({ method: "GET", path: "/version" }));
      tell(true, `Kubernetes API ${kube.server} answers (${gitVersion})`);
    } catch (error) {
      tell(false, `Kubernetes API ${kube.server}: ${error instanceof Error ? error.message : String(error)}`);
      return 1;
    }
    if (!flags.pre) {
      const served = z.object({ resources: z.array(z.object({ kind: z.string() })) });
      const resources = served.parse(
        await kube.request({ method: "GET", path: `/apis/${API_GROUP}/v1` }).catch(() => ({ resources: [] })),
      ).resources;
      const missing = KINDS.filter(({ kind }) => !resources.some((resource) => resource.kind === kind)).map(
        ({ kind }) => kind,
      );
      tell(
        missing.length === 0,
        missing.length === 0
          ? `all ${KINDS.length} kinds of ${API_GROUP}/v1 are served`
          : `kinds are missing: ${missing.join(", ")}`,
      );
      try {
        const state = OpsStatus.parse(await (await (await context.ops()).call("/v1/status")).body.json());
        for (const component of state.components)
          tell(
            component.status !== "down",
            `${component.name} is ${component.status}${component.message ? `: ${component.message}` : ""}`,
          );
        for (const problem of state.problems)
          context.out(`note ${problem.kind.toLowerCase()}/${problem.name}: ${problem.message}\n`);
      } catch (error) {
        tell(false, error instanceof Error ? error.message : String(error));
      }
    }
    return failures > 0 ? 1 : 0;
  },
});
