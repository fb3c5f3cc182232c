import { setTimeout as pause } from "node:timers/promises";
import { stringify } from "yaml";
import type { Condition } from "../api/kinds/index.ts";
import { isNotFound } from "../kube/kube-error.ts";
import type { KubeObject } from "../kube/object.ts";
import type { ResourceType } from "../kube/resource.ts";
import { CliError, type Command, defineCommand, type Flags, UsageError } from "./command.ts";
import { age, type Column, OUTPUT_FLAG, printObjects, shortText } from "./output.ts";

/** What list, get, delete and wait need to know of a kind. */
export interface NounKind<T extends KubeObject> {
  noun: string;
  type: ResourceType<T>;
  columns: readonly Column<T>[];
}

const NAME_FLAG = { type: "string", help: "Name", required: true, placeholder: "<name>" } as const;
const NAME_PLACE = [{ name: "name", help: "Name", flag: "name" }] as const;
type WithConditions = KubeObject & { status?: { conditions?: Condition[] | undefined } | undefined };

export const readyOf = (object: WithConditions): string =>
  object.status?.conditions?.find(({ type }) => type === "Ready")?.status ?? "Unknown";

/** Why something is not ready, in one line; empty when it is. */
function whyNotReady({ status }: WithConditions): string {
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  return !ready || ready.status === "True" ? "" : shortText(`${ready.reason}: ${ready.message}`);
}

const common = <T extends KubeObject>(): Column<T>[] => [
  { header: "READY", value: (object) => readyOf(object) },
  { header: "AGE", value: (object) => age(object.metadata.creationTimestamp) },
  { header: "WHY NOT READY", value: (object) => whyNotReady(object), wide: true },
];
const named = <T extends KubeObject>(): Column<T> => ({
  header: "NAME",
  value: ({ metadata }) => metadata.name,
});

/** Says that an object does not exist, with how to see those that do. */
export const notFound = (noun: string, kind: string, name: string, namespace: string): CliError =>
  new CliError(
    `${kind} "${name}" not found in namespace "${namespace}": \`isotope ${noun} list\` shows what there is`,
  );

/** A flag of `list` that keeps only some objects. */
export interface ListFilter<T extends KubeObject> {
  flag: string;
  help: string;
  keep: (object: T, value: string) => boolean;
}

export function listCommand<T extends KubeObject>(
  { noun, type, columns }: NounKind<T>,
  filter?: ListFilter<T>,
): Command {
  const narrowing: Flags = filter ? { [filter.flag]: { type: "string", help: filter.help } } : {};
  return defineCommand({
    noun,
    verb: "list",
    aliases: ["ls"],
    summary: `List ${type.plural}`,
    flags: {
      output: OUTPUT_FLAG,
      "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
      selector: { type: "string", short: "l", help: "Label selector" },
      ...narrowing,
    },
    async run(input, context) {
      const { flags } = input;
      const wanted: unknown = filter ? Reflect.get(flags, filter.flag) : undefined;
      const kube = await context.kube();
      const namespace = flags["all-namespaces"] ? undefined : await context.namespace();
      const { items: all } = await kube.list(type, { namespace, labelSelector: flags.selector });
      const items =
        filter && typeof wanted === "string" ? all.filter((item) => filter.keep(item, wanted)) : all;
      const place: Column<T>[] = flags["all-namespaces"]
        ? [{ header: "NAMESPACE", value: ({ metadata }) => metadata.namespace }]
        : [];
      printObjects(
        context,
        items.map((item) => ({ apiVersion: type.apiVersion, kind: type.kind, ...item })),
        [...place, named<T>(), ...columns, ...common<T>()],
        { output: flags.output, kind: type.plural },
      );
      return 0;
    },
  });
}

export function getCommand<T extends KubeObject>({ noun, type, columns }: NounKind<T>): Command {
  return defineCommand({
    noun,
    verb: "get",
    summary: `Show one of the ${type.plural}`,
    positionals: NAME_PLACE,
    flags: { name: NAME_FLAG, output: OUTPUT_FLAG },
    async run({ flags }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const found = await kube.find(type, { namespace, name: flags.name });
      if (!found) throw notFound(noun, type.kind, flags.name, namespace);
      printObjects(context, [found], [named<T>(), ...columns, ...common<T>()], {
        output: flags.output,
        kind: type.plural,
        single: true,
      });
      return 0;
    },
  });
}

export function deleteCommand<T extends KubeObject>({ noun, type }: NounKind<T>): Command {
  return defineCommand({
    noun,
    verb: "delete",
    aliases: ["rm"],
    summary: `Delete one of the ${type.plural}`,
    positionals: NAME_PLACE,
    flags: {
      name: NAME_FLAG,
      ignorenotfound: { type: "boolean", help: "Succeed when it does not exist" },
      force: { type: "boolean", short: "f", help: "Delete although others refer to it" },
    },
    async run({ flags }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const ref = { namespace, name: flags.name };
      if (!(await kube.find(type, ref))) {
        if (flags.ignorenotfound) return 0;
        throw notFound(noun, type.kind, flags.name, namespace);
      }
      await kube.delete(type, ref);
      context.out(`${type.kind.toLowerCase()} "${flags.name}" deleted\n`);
      return 0;
    },
  });
}

/** `condition=Ready` or `condition=Ready=False`. @throws {UsageError} */
export function parseWaitFor(text: string): { type: string; status: string } {
  const match = /^condition=([A-Za-z]+)(?:=(True|False|Unknown))?$/i.exec(text);
  if (!match?.[1])
    throw new UsageError(`--for must be condition=<type> or condition=<type>=<status>, got "${text}"`);
  return { type: match[1], status: match[2] ?? "True" };
}

const POLL_MS = 100;

export function waitCommand<T extends WithConditions>({ noun, type }: NounKind<T>): Command {
  return defineCommand({
    noun,
    verb: "wait",
    summary: "Wait until a condition holds",
    positionals: NAME_PLACE,
    flags: {
      name: NAME_FLAG,
      for: { type: "string", help: "condition=<type>[=<status>]", default: "condition=Ready" },
      timeout: { type: "duration", help: "How long", default: 60_000 },
    },
    async run({ flags }, context) {
      const wanted = parseWaitFor(flags.for);
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const deadline = performance.now() + flags.timeout;
      let last: Condition | undefined;
      while (performance.now() < deadline && !context.signal.aborted) {
        try {
          const object = await kube.get<T>(type, { namespace, name: flags.name });
          last = object.status?.conditions?.find(
            (condition) => condition.type.toLowerCase() === wanted.type.toLowerCase(),
          );
          const current =
            (last?.observedGeneration ?? Number.MAX_SAFE_INTEGER) >= (object.metadata.generation ?? 0);
          if (current && last?.status.toLowerCase() === wanted.status.toLowerCase()) {
            context.out(`${type.kind.toLowerCase()} "${flags.name}" condition met\n`);
            return 0;
          }
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
        await pause(POLL_MS);
      }
      throw new CliError(
        `${type.kind} "${flags.name}" did not reach ${wanted.type}=${wanted.status} within ${flags.timeout / 1000} s${last ? `: it is ${last.status} (${last.reason}: ${last.message})` : ""}`,
      );
    },
  });
}

/** YAML of an object without what the server keeps for itself. */
export const yamlOf = (object: KubeObject): string => {
  const { metadata, ...rest } = object;
  const { uid: _uid, resourceVersion: _version, generation: _generation, ...kept } = metadata;
  return stringify({ ...rest, metadata: kept }, { lineWidth: 0, aliasDuplicateObjects: false });
};
