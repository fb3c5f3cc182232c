import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { KINDS } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import type { KubeObject } from "../../kube/object.ts";
import { CliError } from "../command.ts";
import { didYouMean } from "../suggest.ts";

/** Identity of an application: its objects carry the uid, so that they can be told from others. Never stored in the API server. */
export const DeploymentConfig = z.object({
  kind: z.literal("DeploymentConfig"),
  name: z.string().min(1),
  uid: z.string().min(1),
});
/** Files that are packed and uploaded; packages name the result as `archive://<name>`. */
export const ArchiveUploadSpec = z.object({
  kind: z.literal("ArchiveUploadSpec"),
  name: z.string().min(1),
  rootdir: z.string().optional(),
  include: z.array(z.string()).min(1),
  exclude: z.array(z.string()).optional(),
});

export interface SpecObject {
  object: KubeObject & { kind: string; spec: Record<string, unknown> };
  /** `file:line`, for messages. */
  place: string;
}

export interface Specs {
  folder: string;
  deployment: z.infer<typeof DeploymentConfig>;
  archives: z.infer<typeof ArchiveUploadSpec>[];
  objects: SpecObject[];
  /** Everything that is wrong, with its place. */
  problems: string[];
}

const Header = z.object({ apiVersion: z.string().optional(), kind: z.string() });
const ObjectShape = z.looseObject({
  metadata: z.looseObject({ name: z.string().min(1), namespace: z.string().optional() }),
  spec: z.looseObject({}),
});

function* yamlFiles(folder: string, ignored: readonly RegExp[], root = folder): Generator<string> {
  for (const item of readdirSync(folder, { withFileTypes: true }).toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = join(folder, item.name);
    if (ignored.some((pattern) => pattern.test(relative(root, path)))) continue;
    if (item.isDirectory()) yield* yamlFiles(path, ignored, root);
    else if (/\.ya?ml$/.test(item.name)) yield path;
  }
}

/** Patterns of a `.specignore` file: one glob a line, `#` for remarks. */
function ignorePatterns(path: string): RegExp[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(
      (line) =>
        new RegExp(
          `(^|/)${line
            .replace(/[.+^${}()|[\]\\]/g, "\\$&")
            .replaceAll("*", "[^/]*")
            .replace(/\/$/, "(/|$)")}`,
        ),
    );
}

function readDocument(
  value: unknown,
  place: string,
  specs: Omit<Specs, "deployment"> & { deployment?: Specs["deployment"] },
): void {
  const header = Header.safeParse(value);
  if (!header.success) {
    specs.problems.push(`${place}: an object with "kind" is expected`);
    return;
  }
  const { kind, apiVersion } = header.data;
  const fail = (error: z.ZodError): void => {
    for (const { path, message } of error.issues)
      specs.problems.push(`${place}: ${kind}: ${path.join(".")}: ${message}`);
  };
  if (kind === "DeploymentConfig" || kind === "ArchiveUploadSpec") {
    const parsed =
      kind === "DeploymentConfig" ? DeploymentConfig.safeParse(value) : ArchiveUploadSpec.safeParse(value);
    if (!parsed.success) return fail(parsed.error);
    if (parsed.data.kind === "ArchiveUploadSpec") specs.archives.push(parsed.data);
    else if (specs.deployment) specs.problems.push(`${place}: a second DeploymentConfig; there may be one`);
    else specs.deployment = parsed.data;
    return;
  }
  const definition = KINDS.find((known) => known.kind === kind);
  if (!definition) {
    specs.problems.push(
      `${place}: unknown kind "${kind}"${didYouMean(
        kind,
        KINDS.map((known) => known.kind),
      )}`,
    );
    return;
  }
  if (apiVersion !== API_GROUP_VERSION)
    specs.problems.push(`${place}: apiVersion must be "${API_GROUP_VERSION}", got "${apiVersion ?? ""}"`);
  const shape = ObjectShape.safeParse(value);
  if (!shape.success) return fail(shape.error);
  const spec = definition.spec.safeParse(shape.data.spec);
  if (!spec.success) {
    for (const { path, message } of spec.error.issues)
      specs.problems.push(
        `${place}: ${kind} "${shape.data.metadata.name}": spec.${path.join(".")}: ${message}`,
      );
    return;
  }
  const { status: _status, ...rest } = shape.data;
  specs.objects.push({
    object: { ...rest, apiVersion: API_GROUP_VERSION, kind, spec: spec.data as Record<string, unknown> },
    place,
  });
}

/** References between the objects, and names that are used twice. */
function crossCheck({ objects, archives, problems }: Omit<Specs, "deployment">): void {
  const seen = new Map<string, string>();
  for (const { object, place } of objects) {
    const key = `${object.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
    const other = seen.get(key);
    if (other)
      problems.push(`${place}: ${object.kind} "${object.metadata.name}" is defined already at ${other}`);
    else seen.set(key, place);
  }
  const Url = z.looseObject({ url: z.string().optional() }).optional();
  for (const { object, place } of objects.filter((each) => each.object.kind === "Package")) {
    for (const field of ["source", "deployment"] as const) {
      const name = /^archive:\/\/(.+)$/.exec(Url.catch(undefined).parse(object.spec[field])?.url ?? "")?.[1];
      if (name && !archives.some((archive) => archive.name === name))
        problems.push(
          `${place}: Package "${object.metadata.name}": spec.${field}.url names archive "${name}", which no ArchiveUploadSpec defines`,
        );
    }
  }
}

/** Reads and checks a folder of specs. @throws {CliError} when there is none, or no DeploymentConfig in it. */
export function readSpecs(folder: string, ignoreFile = join(folder, ".specignore")): Specs {
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new CliError(`Cannot read specs: "${folder}" does not exist; \`isotope spec init\` makes it`);
  const specs: Omit<Specs, "deployment"> & { deployment?: Specs["deployment"] } = {
    folder,
    archives: [],
    objects: [],
    problems: [],
  };
  for (const path of yamlFiles(folder, ignorePatterns(ignoreFile))) {
    const text = readFileSync(path, "utf8");
    for (const document of parseAllDocuments(text)) {
      const line = text.slice(0, document.range?.[0] ?? 0).split("\n").length;
      const place = `${relative(folder, path)}:${line}`;
      const [error] = document.errors;
      if (error) specs.problems.push(`${place}: ${error.message.split("\n")[0] ?? "not YAML"}`);
      else if (document.contents !== null) readDocument(document.toJS(), place, specs);
    }
  }
  crossCheck(specs);
  const { deployment } = specs;
  if (!deployment)
    throw new CliError(
      `Cannot use the specs in "${folder}": they hold no DeploymentConfig; \`isotope spec init\` writes one`,
    );
  return { ...specs, deployment };
}
