import type { Workflow } from "../../api/kinds/index.ts";
import { PlatformError } from "../../api/errors.ts";
import { ARTIFACT_ENTRY } from "../../api/wire/builder.ts";
import type { CheckDefinition, DefinitionCheck } from "../../api/wire/workflows.ts";
import { readArchive } from "../../net/archive/read-archive.ts";
import { archiveFormat } from "../../net/archive/archive-format.ts";
import { type Definition, DefinitionError } from "../definition/definition.ts";
import { checkFormat } from "../format/check-format.ts";
import { formatDefinition, formatText } from "../format/format-definition.ts";
import { FormatSpec } from "../format/spec.ts";
import type { CodeSource, DefinitionHost } from "../host/definition-host.ts";
import { hostedDefinition } from "../host/hosted-definition.ts";
import { workflowCode } from "../host/workflow-code.ts";
import type { Definitions } from "../worker/ports.ts";
import type { DefinitionArchives } from "./definition-archives.ts";

/**
 * Definitions by digest. Each is stored as an archive whose sha256 is the digest that runs pin: code as the script for the host, `startAt`/`states` as its
 * canonical text. So a run needs nothing but its digest, whatever has become of the Workflow and its Package.
 */
export interface DefinitionService extends Definitions {
  /** What new runs of a Workflow are made of. Rejects with `PlatformError` workflow_not_ready. */
  current(workflow: Workflow): Promise<Definition>;
  /** Checks a definition, and stores it when it can be run. */
  check(request: CheckDefinition): Promise<DefinitionCheck>;
  close(): void;
}

export interface DefinitionServiceOptions {
  readonly archives: DefinitionArchives;
  /** A host for a namespace: tenants share none. */
  readonly openHost: (namespace: string) => DefinitionHost;
}

/** Definitions that are kept at hand. */
const MAX_CACHED = 512;

export function definitionService({ archives, openHost }: DefinitionServiceOptions): DefinitionService {
  const hosts = new Map<string, DefinitionHost>();
  const cached = new Map<string, Promise<Definition>>();
  const stored = new Set<string>();
  const hostOf = (namespace: string): DefinitionHost => {
    const host = hosts.get(namespace) ?? openHost(namespace);
    hosts.set(namespace, host);
    return host;
  };
  const store = async (digest: string, text: string): Promise<void> => {
    if (stored.has(digest)) return;
    await archives.store(Buffer.from(text, "utf8"));
    stored.add(digest);
  };
  const byDigest = (namespace: string, name: string, digest: string): Promise<Definition> => {
    const key = `${namespace}/${name}/${digest}`;
    const known = cached.get(key);
    cached.delete(key);
    const definition = known ?? load(namespace, name, digest);
    cached.set(key, definition);
    if (!known) definition.catch(() => cached.delete(key));
    const [oldest] = cached.keys();
    if (cached.size > MAX_CACHED && oldest !== undefined) cached.delete(oldest);
    return definition;
  };
  const load = async (namespace: string, name: string, digest: string): Promise<Definition> => {
    const text = (await readStored(archives, digest)).toString("utf8");
    if (text.startsWith(FORMAT_MARK))
      return formatDefinition(name, JSON.parse(text.slice(text.indexOf("\n") + 1)));
    const { definition } = await hostedDefinition(hostOf(namespace), { digest, code: text });
    return definition;
  };
  const checkCode = async (namespace: string, source: CodeSource): Promise<DefinitionCheck> => {
    const { definition, problems } = await hostedDefinition(hostOf(namespace), source);
    if (problems.length > 0)
      return { problems: problems.map(({ place, message }) => ({ severity: "error", place, message })) };
    await store(source.digest, source.code);
    return { digest: source.digest, facts: asJson(definition.facts), problems: [] };
  };
  const checkSpec = async (name: string, spec: unknown): Promise<DefinitionCheck> => {
    const problems = checkFormat(spec);
    if (problems.length > 0)
      return { problems: problems.map(({ place, message }) => ({ severity: "error", place, message })) };
    const definition = formatDefinition(name, spec);
    await store(definition.digest, formatText(FormatSpec.parse(spec)));
    return { digest: definition.digest, facts: asJson(definition.facts), problems: [] };
  };
  return {
    get: ({ key, workflow, definition }) => byDigest(key.namespace, workflow, definition),
    current: async ({ metadata, spec, status }) => {
      const name = metadata.name;
      const namespace = metadata.namespace ?? "default";
      const made = status?.definition;
      const validated = status?.conditions?.find(({ type }) => type === "Validated");
      if (!made || (spec.package === undefined && made.generation !== metadata.generation))
        throw new PlatformError(
          "workflow_not_ready",
          `Cannot start workflow "${name}": ${validated?.status === "False" ? validated.message : "its definition is not checked yet"}`,
        );
      return byDigest(namespace, name, made.digest);
    },
    check: async ({ namespace, name, spec, archive, export: exported = "default" }) => {
      if ((spec === undefined) === (archive === undefined))
        throw new PlatformError(
          "bad_request",
          "Cannot check a definition: exactly one of spec and archive is needed",
        );
      try {
        if (archive === undefined) return await checkSpec(name, spec);
        const bundle = await bundleIn(await archives.read(archive));
        return await checkCode(namespace, await workflowCode(bundle, exported));
      } catch (error) {
        if (!(error instanceof DefinitionError) || error.code === "definition_unavailable") throw error;
        return { problems: [{ severity: "error", place: exported, message: error.message }] };
      }
    },
    close: () => {
      for (const host of hosts.values()) host.close();
    },
  };
}

const FORMAT_MARK = "startAt/";

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- facts are data: absent fields of theirs are no concern of JSON's
const asJson = (facts: Definition["facts"]) => facts as unknown as NonNullable<DefinitionCheck["facts"]>;

async function readStored(archives: DefinitionArchives, digest: string): Promise<Buffer> {
  try {
    return await archives.read(digest);
  } catch (error) {
    const gone = error instanceof PlatformError && error.code === "archive_not_found";
    throw new DefinitionError(
      gone ? "definition_invalid" : "definition_unavailable",
      gone
        ? `The definition "${digest}" is no longer stored`
        : `The definition cannot be read: ${String(error)}`,
      { cause: error },
    );
  }
}

/** The bundle of a built package, or a package that is one module. */
async function bundleIn(archive: Buffer): Promise<string> {
  const format = archiveFormat(archive);
  if (format === "file") return archive.toString("utf8");
  for await (const { path, bytes } of readArchive(archive, format))
    if (path === ARTIFACT_ENTRY) return Buffer.from(bytes).toString("utf8");
  throw new DefinitionError(
    "definition_invalid",
    `The package holds no ${ARTIFACT_ENTRY}: it must be built from one module that exports the workflow`,
  );
}
