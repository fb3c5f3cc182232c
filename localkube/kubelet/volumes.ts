/**
 * 1. What a volume shows changes all at once: a new folder is filled, then one symlink is renamed over (`..data`), as a kubelet does.
 * 2. Nothing outside the pod's own folder is written: names and paths that would leave it are refused.
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, normalize } from "node:path";
import { ConfigError, type ConfigSources, readResourceField } from "./environment.ts";
import { type PodPlace, readFieldPath } from "./field-path.ts";
import type { ContainerSpec, DownwardItem, KeyToPath, Pod, VolumeSpec } from "./pod.ts";

interface VolumeFile {
  content: Buffer;
  mode: number;
}
type VolumeFiles = Map<string, VolumeFile>;

export interface VolumeContext {
  pod: Pod;
  place: PodPlace;
  sources: ConfigSources;
  /** `pods/<uid>/volumes` */
  volumesDir: string;
}

/** Files are for the pod's own user alone; of a wider mode only that user's part counts. */
function ownerMode(mode: number | undefined): number {
  return 0o400 | ((mode ?? 0o400) & 0o500);
}

function relativePath(path: string, what: string): string {
  const clean = normalize(path);
  if (clean.startsWith("/") || clean.split("/").includes("..")) {
    throw new ConfigError(`${what} must stay inside the volume, got "${path}"`);
  }
  return clean;
}

interface KeyedSource {
  kind: "secret" | "configmap";
  name: string;
  items?: KeyToPath[] | undefined;
  optional?: boolean | undefined;
}

function addKeyed(
  files: VolumeFiles,
  source: KeyedSource,
  defaultMode: number | undefined,
  context: VolumeContext,
): void {
  const namespace = context.pod.metadata.namespace ?? "default";
  const data =
    source.kind === "secret"
      ? context.sources.secret(namespace, source.name)
      : context.sources.configMap(namespace, source.name);
  if (!data) {
    if (source.optional === true) return;
    throw new ConfigError(`${source.kind} "${source.name}" not found`);
  }
  const items = source.items ?? [...data.keys()].map((key) => ({ key, path: key, mode: undefined }));
  for (const item of items) {
    const content = data.get(item.key);
    if (content) {
      files.set(relativePath(item.path, "volume item path"), {
        content,
        mode: ownerMode(item.mode ?? defaultMode),
      });
    } else if (source.optional !== true) {
      throw new ConfigError(`references non-existent ${source.kind} key: ${item.key}`);
    }
  }
}

function addDownward(
  files: VolumeFiles,
  items: DownwardItem[],
  defaultMode: number | undefined,
  context: VolumeContext,
): void {
  const { pod, place } = context;
  for (const item of items) {
    const first = pod.spec.containers[0];
    const path = item.fieldRef?.fieldPath ?? "";
    const text =
      item.resourceFieldRef && first
        ? readResourceField(pod, first, item.resourceFieldRef)
        : readFieldPath(pod, place, path);
    if (text === undefined) throw new ConfigError(`field path "${path}" is not known`);
    files.set(relativePath(item.path, "downward API path"), {
      content: Buffer.from(text),
      mode: ownerMode(item.mode ?? defaultMode),
    });
  }
}

/** The files of a volume that shows objects of the API; undefined for other volumes. */
function collectFiles(volume: VolumeSpec, context: VolumeContext): VolumeFiles | undefined {
  const files: VolumeFiles = new Map();
  const { secret, configMap, downwardAPI, projected } = volume;
  if (secret) {
    addKeyed(
      files,
      { kind: "secret", name: secret.secretName ?? "", ...secret },
      secret.defaultMode,
      context,
    );
  } else if (configMap) {
    addKeyed(
      files,
      { ...configMap, kind: "configmap", name: configMap.name ?? "" },
      configMap.defaultMode,
      context,
    );
  } else if (downwardAPI) {
    addDownward(files, downwardAPI.items ?? [], downwardAPI.defaultMode, context);
  } else if (projected) {
    for (const source of projected.sources ?? []) {
      if (source.secret) {
        addKeyed(
          files,
          { ...source.secret, kind: "secret", name: source.secret.name ?? "" },
          projected.defaultMode,
          context,
        );
      } else if (source.configMap) {
        addKeyed(
          files,
          { ...source.configMap, kind: "configmap", name: source.configMap.name ?? "" },
          projected.defaultMode,
          context,
        );
      } else if (source.downwardAPI) {
        addDownward(files, source.downwardAPI.items ?? [], projected.defaultMode, context);
      } else {
        throw new ConfigError(
          `projected volume source ${Object.keys(source).join(", ")} cannot be had in local mode`,
        );
      }
    }
  } else {
    return undefined;
  }
  return files;
}

function showsAlready(folder: string, files: VolumeFiles): boolean {
  const data = join(folder, "..data");
  if (!existsSync(data)) return false;
  const present = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  if (present.length !== files.size) return false;
  return [...files].every(([path, file]) => {
    try {
      return readFileSync(join(data, path)).equals(file.content);
    } catch {
      return false;
    }
  });
}

function replaceLink(target: string, link: string): void {
  const temporary = `${link}..new`;
  rmSync(temporary, { force: true });
  symlinkSync(target, temporary);
  renameSync(temporary, link);
}

function writeFiles(folder: string, files: VolumeFiles): boolean {
  mkdirSync(folder, { recursive: true });
  if (showsAlready(folder, files)) return false;
  const version = `..${process.hrtime.bigint()}`;
  mkdirSync(join(folder, version), { recursive: true });
  for (const [path, file] of files) {
    const target = join(folder, version, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, file.content, { mode: file.mode });
    chmodSync(target, file.mode);
  }
  const dataLink = join(folder, "..data");
  const previous = existsSync(dataLink) ? readlinkSync(dataLink) : undefined;
  replaceLink(version, dataLink);
  const visible = new Set([...files.keys()].map((path) => path.split("/")[0] ?? path));
  for (const name of visible) {
    if (!existsSync(join(folder, name))) replaceLink(join("..data", name), join(folder, name));
  }
  for (const name of readdirSync(folder)) {
    if (!name.startsWith("..") && !visible.has(name)) rmSync(join(folder, name), { force: true });
  }
  if (previous !== undefined) rmSync(join(folder, previous), { recursive: true, force: true });
  return true;
}

const SUPPORTED = "emptyDir, secret, configMap, downwardAPI, projected, hostPath";

function hostPathOf(volume: VolumeSpec): string | undefined {
  const hostPath = volume["hostPath"];
  if (typeof hostPath !== "object" || hostPath === null || !("path" in hostPath)) return undefined;
  return typeof hostPath.path === "string" ? hostPath.path : undefined;
}

/**
 * Makes the pod's volumes, or brings them up to date with the objects they show.
 * Throws ConfigError when something they name is missing or of a kind that local mode does not have.
 */
export function prepareVolumes(context: VolumeContext): void {
  for (const volume of context.pod.spec.volumes ?? []) {
    const folder = join(context.volumesDir, volume.name);
    const files = collectFiles(volume, context);
    if (files) {
      writeFiles(folder, files);
      continue;
    }
    const hostPath = hostPathOf(volume);
    if (hostPath !== undefined) {
      if (!existsSync(folder)) {
        mkdirSync(context.volumesDir, { recursive: true });
        symlinkSync(hostPath, folder);
      }
    } else if (volume.emptyDir || Object.keys(volume).length === 1) {
      mkdirSync(folder, { recursive: true });
    } else {
      const kind = Object.keys(volume).find((key) => key !== "name") ?? "unknown";
      throw new ConfigError(`volume "${volume.name}" is a ${kind}; local mode has ${SUPPORTED}`);
    }
  }
}

/** Names of the Secrets and ConfigMaps that the pod's volumes show, as `secret/<name>` and `configmap/<name>`. */
export function volumeSources(pod: Pod): Set<string> {
  const names = new Set<string>();
  for (const volume of pod.spec.volumes ?? []) {
    if (volume.secret) names.add(`secret/${volume.secret.secretName ?? ""}`);
    if (volume.configMap) names.add(`configmap/${volume.configMap.name ?? ""}`);
    for (const source of volume.projected?.sources ?? []) {
      if (source.secret) names.add(`secret/${source.secret.name ?? ""}`);
      if (source.configMap) names.add(`configmap/${source.configMap.name ?? ""}`);
    }
  }
  return names;
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

/** Puts the container's mounts under `rootDir` as symlinks into the volumes. */
export function mountVolumes(container: ContainerSpec, rootDir: string, volumesDir: string): void {
  mkdirSync(rootDir, { recursive: true });
  const outermostFirst = (container.volumeMounts ?? []).toSorted(
    (left, right) => left.mountPath.length - right.mountPath.length,
  );
  for (const mount of outermostFirst) {
    const volume = join(volumesDir, mount.name);
    const source = mount.subPath ? join(volume, relativePath(mount.subPath, "subPath")) : volume;
    const target = join(rootDir, relativePath(mount.mountPath.replace(/^\/+/, ""), "mountPath"));
    if (mount.subPath && !existsSync(source)) mkdirSync(source, { recursive: true });
    if (isLink(target)) {
      if (readlinkSync(target) === source) continue;
      rmSync(target);
    }
    mkdirSync(dirname(target), { recursive: true });
    symlinkSync(source, target);
  }
}

/** Whether two containers want different volumes at one path, so that they cannot share a root folder. */
export function mountsClash(pod: Pod): boolean {
  const seen = new Map<string, string>();
  for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
    for (const mount of container.volumeMounts ?? []) {
      const source = `${mount.name}/${mount.subPath ?? ""}`;
      const path = normalize(mount.mountPath);
      if ((seen.get(path) ?? source) !== source) return true;
      seen.set(path, source);
    }
  }
  return false;
}
