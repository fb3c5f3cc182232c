import { mkdirSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { ConfigError, type ConfigSources, resolveEnvironment } from "./environment.ts";
import { expandReferences } from "./expand-references.ts";
import type { PodPlace } from "./field-path.ts";
import { type ImageRule, type ImageTable, substitute } from "./images.ts";
import type { ContainerSpec, Pod } from "./pod.ts";
import { parseQuantity } from "../schema/quantity.ts";
import type { RunSpec } from "./shim/messages.ts";
import { mountsClash, mountVolumes, prepareVolumes } from "./volumes.ts";

/** Why a container does not start, in the words of a container status. */
export class StartProblem extends Error {
  readonly reason:
    | "ErrImagePull"
    | "CreateContainerConfigError"
    | "CreateContainerError"
    | "ContainerCreating";
  constructor(reason: StartProblem["reason"], message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface PodFolders {
  /** `pods/<uid>` */
  podDir: string;
  /** `logs/pods/<namespace>_<name>_<uid>` */
  logDir: string;
}

export interface RunSpecContext {
  pod: Pod;
  container: ContainerSpec;
  attempt: number;
  place: PodPlace;
  /** The port the pod has on a shared address; undefined where it has an address of its own. */
  hostPort: number | undefined;
  folders: PodFolders;
  images: ImageTable;
  sources: ConfigSources;
  maxLogBytes: number;
  /** CIDRs of all pod addresses but the pod's own; none where pods share an address. */
  otherPods: string[];
}

const MINIMAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Reserved for documentation, so that a list of addresses with it in it means none. */
const NO_ADDRESS = "192.0.2.0/32";
/** Where a pod without a container port is expected to listen. */
const DEFAULT_PORT = 8888;

function processId(pod: Pod, container: string, attempt: number): string {
  return `${pod.metadata.uid}/${container}/${attempt}`;
}

/** The pod of a process. */
export function podUidOf(id: string): string {
  return id.slice(0, id.indexOf("/"));
}

function findRule(images: ImageTable, image: string): ImageRule {
  const rule = images.find(image);
  if (rule) return rule;
  const known = images.patterns();
  const list = known.length === 0 ? "no image at all" : known.map((pattern) => `"${pattern}"`).join(", ");
  throw new StartProblem(
    "ErrImagePull",
    `Cannot pull image "${image}": local mode runs containers as processes and knows how to run ${list}`,
  );
}

function commandLine(
  rule: ImageRule,
  container: ContainerSpec,
  env: Readonly<Record<string, string>>,
): string[] {
  const command = (container.command ?? []).map((word) => expandReferences(word, env));
  const args = (container.args ?? []).map((word) => expandReferences(word, env));
  if (rule.containerCommand === "ignore" || command.length + args.length === 0) return rule.command;
  if (rule.containerCommand === "append") return [...rule.command, ...command, ...args];
  if (rule.containerCommand === "replace")
    return command.length > 0 ? [...command, ...args] : [...rule.command, ...args];
  throw new StartProblem(
    "CreateContainerError",
    `Cannot start container "${container.name}": image "${container.image}" takes no command or args in local mode, got ${JSON.stringify([...command, ...args])}`,
  );
}

function memoryLimit(container: ContainerSpec): number | undefined {
  const limit = container.resources?.limits?.["memory"];
  return limit === undefined ? undefined : parseQuantity(limit);
}

function withProblem<T>(reason: StartProblem["reason"], work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConfigError) throw new StartProblem(reason, error.message);
    throw error;
  }
}

/**
 * Makes the container's folders, volumes and mounts and says how to run it.
 * Throws StartProblem when it cannot run for now.
 */
export function prepareRun(context: RunSpecContext): RunSpec {
  const { pod, container, place, folders, sources } = context;
  const rule = findRule(context.images, container.image);
  const containerDir = join(folders.podDir, "containers", container.name);
  const volumesDir = join(folders.podDir, "volumes");
  const root = mountsClash(pod) ? join(containerDir, "root") : join(folders.podDir, "root");
  const port = context.hostPort ?? container.ports?.[0]?.containerPort ?? DEFAULT_PORT;
  const values = {
    POD_DIR: folders.podDir,
    POD_IP: place.podIP,
    PORT: String(port),
    ROOT: root,
    CONTAINER_DIR: containerDir,
    OTHER_PODS: context.otherPods.length > 0 ? context.otherPods.join(",") : NO_ADDRESS,
  };
  const home = join(containerDir, "home");
  const temporary = join(containerDir, "tmp");
  mkdirSync(home, { recursive: true });
  mkdirSync(temporary, { recursive: true });
  withProblem("ContainerCreating", () => {
    prepareVolumes({ pod, place, sources, volumesDir });
    mountVolumes(container, root, volumesDir);
  });
  const base: Record<string, string> = { PATH: MINIMAL_PATH, HOME: home, TMPDIR: temporary };
  for (const [name, text] of Object.entries(rule.env)) base[name] = substitute(text, values);
  const env = withProblem("CreateContainerConfigError", () =>
    resolveEnvironment(pod, place, container, sources, base),
  );
  const cwd = join(root, container.workingDir ?? "/");
  mkdirSync(cwd, { recursive: true });
  const memoryLimitBytes = memoryLimit(container);
  const argv = commandLine(rule, container, env).map((word) => substitute(word, values));
  return {
    id: processId(pod, container.name, context.attempt),
    argv: argv[0]?.includes("/") && !isAbsolute(argv[0]) ? [join(cwd, argv[0]), ...argv.slice(1)] : argv,
    env,
    cwd,
    logFile: join(folders.logDir, container.name, `${context.attempt}.log`),
    pidFile: join(containerDir, "pid"),
    maxLogBytes: context.maxLogBytes,
    labels: {
      podIP: place.podIP,
      ...(context.hostPort !== undefined ? { hostPort: String(context.hostPort) } : {}),
    },
    ...(memoryLimitBytes !== undefined ? { memoryLimitBytes } : {}),
  };
}
