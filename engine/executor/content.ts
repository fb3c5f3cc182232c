import { PlatformError } from "../../api/errors.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import type { MountedData } from "../../api/wire/specialize.ts";
import type { ArchiveCache } from "./archives.ts";
import type { Cluster, KubeData } from "./cluster.ts";

/** All that a revision's pods are given besides its settings. */
export interface Content {
  readonly archive: Uint8Array;
  readonly env: Record<string, string>;
  /** Names of the variables whose values come from secrets. */
  readonly secretEnv: string[];
  readonly secrets: MountedData[];
  readonly configMaps: MountedData[];
}

export interface ContentSource {
  /**
   * Reads archive, secrets and config maps of a revision. What was read of a revision is remembered: its hash covers the versions of
   * all that it refers to, so another content is another revision. Throws `archive_unavailable`, or `specialization_failed` when a
   * secret, a config map or a key in it does not exist.
   */
  read(revisionKey: string, namespace: string, serving: Serving): Promise<Content>;
}

type DataReader = Pick<Cluster, "getSecret" | "getConfigMap">;
/** Values of a secret or config map as bytes in base64. */
type Data = Readonly<Record<string, string>>;
type Given = Omit<Content, "archive">;

/** Revisions whose secrets, config maps and variables are remembered; those used last stay. */
const MAX_REMEMBERED = 1_000;

export function contentSource(cluster: DataReader, archives: ArchiveCache): ContentSource {
  const remembered = new Map<string, Promise<Given>>();
  const given = (key: string, namespace: string, serving: Serving): Promise<Given> => {
    const found = remembered.get(key);
    remembered.delete(key);
    const read = found ?? readGiven(dataReader(cluster, namespace), serving);
    remembered.set(key, read);
    read.catch(() => {
      if (remembered.get(key) === read) remembered.delete(key);
    });
    for (const oldest of remembered.keys()) {
      if (remembered.size <= MAX_REMEMBERED) break;
      remembered.delete(oldest);
    }
    return read;
  };
  return {
    read: async (revisionKey, namespace, serving) => {
      const [archive, rest] = await Promise.all([
        archives.read(serving.package.digest),
        given(revisionKey, namespace, serving),
      ]);
      return { archive, ...rest };
    },
  };
}

async function readGiven(reader: Reader, serving: Serving): Promise<Given> {
  const [secrets, configMaps, { env, secretEnv }] = await Promise.all([
    mounted(serving.secrets, reader.secret),
    mounted(serving.configMaps, reader.configMap),
    variables(serving, reader),
  ]);
  return { env, secretEnv, secrets, configMaps };
}

interface Reader {
  readonly secret: (name: string) => Promise<Data | undefined>;
  readonly configMap: (name: string) => Promise<Data | undefined>;
}

/** Reads each object once, however many variables come from it. References never leave the function's namespace. */
function dataReader(cluster: DataReader, namespace: string): Reader {
  const once = (read: (name: string) => Promise<Data | undefined>) => {
    const reads = new Map<string, Promise<Data | undefined>>();
    return (name: string) => {
      let made = reads.get(name);
      if (!made) reads.set(name, (made = read(name)));
      return made;
    };
  };
  return {
    secret: once(async (name) => (await cluster.getSecret(namespace, name).then(dataOf))?.data),
    configMap: once(async (name) => {
      const found = await cluster.getConfigMap(namespace, name);
      if (!found) return undefined;
      const text = Object.entries(found.data ?? {}).map(([key, value]) => [
        key,
        Buffer.from(value).toString("base64"),
      ]);
      return { ...Object.fromEntries(text), ...found.binaryData };
    }),
  };
}

const dataOf = (found: KubeData | undefined) => (found ? { data: found.data ?? {} } : undefined);

async function mounted(
  refs: Serving["secrets"],
  read: (name: string) => Promise<Data | undefined>,
): Promise<MountedData[]> {
  const wanted = refs.filter((ref) => ref.mounted !== false);
  return Promise.all(
    wanted.map(async ({ namespace, name, mountPath }) => {
      const data = await read(name);
      if (!data) throw missing(`"${name}" does not exist in namespace "${namespace}"`);
      return { namespace, name, data: { ...data }, ...(mountPath === undefined ? {} : { mountPath }) };
    }),
  );
}

/** As Kubernetes does it: `envFrom` first, later ones win, `env` over all; then `$(NAME)` of earlier variables is filled in. */
async function variables(
  serving: Serving,
  reader: Reader,
): Promise<{ env: Record<string, string>; secretEnv: string[] }> {
  const result: Record<string, string> = {};
  const secretEnv = new Set<string>();
  for (const { prefix, secret, configMap } of serving.envFrom) {
    const ref = secret ?? configMap;
    if (!ref) continue;
    const data = await (secret ? reader.secret(ref.name) : reader.configMap(ref.name));
    if (!data && ref.optional !== true) throw missing(`"${ref.name}" (envFrom) does not exist`);
    for (const [key, value] of Object.entries(data ?? {})) {
      const name = `${prefix ?? ""}${key}`;
      result[name] = decode(value);
      if (secret) secretEnv.add(name);
      else secretEnv.delete(name);
    }
  }
  for (const { name, value, secret, configMap } of serving.env) {
    const ref = secret ?? configMap;
    if (secret) secretEnv.add(name);
    else secretEnv.delete(name);
    if (!ref) {
      result[name] = expand(value ?? "", result);
      continue;
    }
    const data = await (secret ? reader.secret(ref.name) : reader.configMap(ref.name));
    const found = data?.[ref.key];
    if (found !== undefined) result[name] = decode(found);
    else if (ref.optional !== true)
      throw missing(
        data
          ? `"${ref.name}" has no key "${ref.key}" (variable "${name}")`
          : `"${ref.name}" (variable "${name}") does not exist`,
      );
  }
  return { env: result, secretEnv: [...secretEnv] };
}

const decode = (value: string): string => Buffer.from(value, "base64").toString("utf8");

/** `$(NAME)` → the variable's value, `$$(NAME)` → `$(NAME)`; unknown names stay as they are. */
export function expand(value: string, known: Readonly<Record<string, string>>): string {
  return value.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return "$";
    return Object.hasOwn(known, name) ? (known[name] ?? "") : whole;
  });
}

const missing = (what: string) =>
  new PlatformError(
    "specialization_failed",
    `Cannot give the function its settings: secret or config map ${what}`,
  );
