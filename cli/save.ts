import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAlreadyExists } from "../kube/kube-error.ts";
import type { KubeObject } from "../kube/object.ts";
import type { ResourceType } from "../kube/resource.ts";
import { CliError, type Flags } from "./command.ts";
import type { CliContext } from "./context.ts";
import { yamlOf } from "./generic-verbs.ts";

export const SAVE_FLAGS = {
  spec: { type: "boolean", help: "Write YAML to ./specs instead of creating the object" },
  dry: { type: "boolean", help: "Print the YAML and create nothing" },
} as const satisfies Flags;

/** Drops empty maps, so that YAML and objects stay small. */
const tidy = <T extends KubeObject>(object: T): T => {
  const metadata = { ...object.metadata };
  for (const key of ["labels", "annotations"] as const)
    if (metadata[key] && Object.keys(metadata[key]).length === 0) delete metadata[key];
  return { ...object, metadata };
};

/** Creates the object, or writes its YAML, as `--spec` and `--dry` say. */
export async function createOrSave<T extends KubeObject>(
  context: CliContext,
  type: ResourceType<T>,
  given: T,
  flags: { spec: boolean; dry: boolean },
): Promise<number> {
  const object = tidy(given);
  const { name } = object.metadata;
  if (flags.dry) {
    context.out(`---\n${yamlOf(object)}`);
    return 0;
  }
  if (flags.spec) {
    const folder = join(context.cwd, "specs");
    const path = join(folder, `${type.kind.toLowerCase()}-${name}.yaml`);
    if (existsSync(path))
      throw new CliError(`Cannot write "${path}": it exists; delete it first, or choose another name`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(path, yamlOf(object));
    context.out(`${type.kind.toLowerCase()} "${name}" written to ${path}\n`);
    return 0;
  }
  try {
    await (await context.kube()).create(type, object);
  } catch (error) {
    if (isAlreadyExists(error))
      throw new CliError(
        `${type.kind} "${name}" exists already in namespace "${object.metadata.namespace ?? ""}": change it with update, or delete it first`,
        { cause: error },
      );
    throw error;
  }
  context.out(`${type.kind.toLowerCase()} "${name}" created\n`);
  return 0;
}
