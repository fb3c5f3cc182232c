import { API_GROUP_VERSION } from "../../../api/names.ts";
import { type Function as FunctionObject, FunctionSpec } from "../../../api/kinds/index.ts";
import type { PodSpec } from "../../../api/kinds/pod-spec.ts";
import { podSpecProblems } from "../../../api/pod-spec-policy.ts";
import { FUNCTIONS } from "../../../kube/kinds.ts";
import { changeObject } from "../../change-object.ts";
import { CliError, type Command, defineCommand, type Flags, type FlagValues } from "../../command.ts";
import { notFound } from "../../generic-verbs.ts";
import { checkName, parsePairList, parsePairs } from "../../names.ts";
import { createOrSave, SAVE_FLAGS } from "../../save.ts";
import { applySpecFlags, SPEC_FLAGS } from "./spec-flags.ts";

const DEFAULT_PORT = 8_888;
const CONTAINER = "function";

const {
  executortype: _executor,
  specializationtimeout: _specialise,
  onceonly: _once,
  retainpods: _retain,
  ...DEPLOYED_FLAGS
} = SPEC_FLAGS;

const CONTAINER_FLAGS = {
  name: { type: "string", help: "Name", required: true },
  port: { type: "integer", help: "Port that the image's HTTP server listens on", min: 1, max: 65_535 },
  command: { type: "string", help: "Program instead of the image's own; words are split at spaces" },
  args: { type: "string", help: "Its arguments; words are split at spaces" },
  graceperiod: { type: "integer", help: "Seconds for a clean end of a pod", min: 0 },
  imagepullsecret: { type: "string", help: "Secret with the registry's credentials" },
  labels: { type: "string", help: "Labels, k=v,k2=v2" },
  annotation: { type: "strings", help: "Annotation, k=v" },
  ...DEPLOYED_FLAGS,
} as const satisfies Flags;

type Values = FlagValues<typeof CONTAINER_FLAGS>;
type Container = NonNullable<PodSpec["containers"]>[number];

const PLACE = [{ name: "name", help: "Name", flag: "name" }] as const;
const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");

/** What the flags say of the pod over what is there. @throws {CliError} where a field is not allowed */
function withPodFlags(podspec: PodSpec | undefined, flags: Values, image: string | undefined): PodSpec {
  const [first = {}, ...others] = podspec?.containers ?? [];
  const container: Container = {
    ...first,
    name: first.name ?? CONTAINER,
    ...(image ? { image } : {}),
    ...(flags.port === undefined ? {} : { ports: [{ containerPort: flags.port }] }),
    ...(flags.command === undefined ? {} : { command: wordsOf(flags.command) }),
    ...(flags.args === undefined ? {} : { args: wordsOf(flags.args) }),
  };
  const next: PodSpec = {
    ...podspec,
    containers: [container, ...others],
    ...(flags.graceperiod === undefined ? {} : { terminationGracePeriodSeconds: flags.graceperiod }),
    ...(flags.imagepullsecret ? { imagePullSecrets: [{ name: flags.imagepullsecret }] } : {}),
  };
  const [problem] = podSpecProblems(next, "container", "spec.podspec");
  if (problem !== undefined) throw new CliError(`Cannot set the pod of function "${flags.name}": ${problem}`);
  return next;
}

const withSpecFlags = (
  spec: FunctionSpec,
  flags: Values,
  given: ReadonlySet<string>,
  namespace: string,
): FunctionSpec =>
  applySpecFlags(
    spec,
    {
      ...flags,
      executortype: "container",
      specializationtimeout: undefined,
      onceonly: false,
      retainpods: undefined,
    },
    given,
    namespace,
  );

export const runContainer: Command = defineCommand({
  noun: "fn",
  verb: "run-container",
  aliases: ["runc"],
  summary: "Make a function of any image with an HTTP server",
  examples: [
    "isotope fn run-container --name web --image nginxinc/nginx-unprivileged --port 8080",
    "isotope route create --function web --prefix /web",
  ],
  positionals: PLACE,
  flags: {
    ...CONTAINER_FLAGS,
    image: { type: "string", help: "Image", required: true },
    ...SAVE_FLAGS,
  },
  async run({ flags, given }, context) {
    const name = checkName(flags.name);
    const namespace = await context.namespace();
    const podspec = withPodFlags(undefined, { ...flags, port: flags.port ?? DEFAULT_PORT }, flags.image);
    const base = FunctionSpec.parse({
      environment: { namespace },
      package: {},
      InvokeStrategy: { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "container" } },
      podspec,
    });
    const object: FunctionObject = {
      apiVersion: API_GROUP_VERSION,
      kind: "Function",
      metadata: {
        name,
        namespace,
        labels: parsePairs(flags.labels, "--labels"),
        annotations: parsePairList(flags.annotation, "--annotation"),
      },
      spec: withSpecFlags(base, flags, given, namespace),
    };
    return createOrSave(context, FUNCTIONS, object, flags);
  },
});

export const updateContainer: Command = defineCommand({
  noun: "fn",
  verb: "update-container",
  aliases: ["updatec"],
  summary: "Change a function that runs an image of its own",
  examples: ["isotope fn update-container --name web --image nginxinc/nginx-unprivileged:1.29 --maxscale 5"],
  positionals: PLACE,
  flags: {
    ...CONTAINER_FLAGS,
    image: { type: "string", help: "Image" },
  },
  async run({ flags, given }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const live = await kube.find(FUNCTIONS, { namespace, name: flags.name });
    if (!live) throw notFound("fn", "Function", flags.name, namespace);
    const type = live.spec.InvokeStrategy.ExecutionStrategy?.ExecutorType || "poolmgr";
    if (type !== "container")
      throw new CliError(
        `Cannot update function "${flags.name}" as a container: its executor type is "${type}"; use \`isotope fn update\``,
      );
    await changeObject(kube, { noun: "fn", type: FUNCTIONS }, { namespace, name: flags.name }, (current) => ({
      ...current,
      metadata: {
        ...current.metadata,
        labels: { ...current.metadata.labels, ...parsePairs(flags.labels, "--labels") },
        annotations: { ...current.metadata.annotations, ...parsePairList(flags.annotation, "--annotation") },
      },
      spec: {
        ...withSpecFlags(current.spec, flags, given, namespace),
        podspec: withPodFlags(current.spec.podspec, flags, flags.image),
      },
    }));
    context.out(`function "${flags.name}" updated\n`);
    return 0;
  },
});
