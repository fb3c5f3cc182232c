import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { ContainerSpec, Pod, VolumeSpec } from "./pod.ts";
import { mountsClash, mountVolumes, prepareVolumes, volumeSources } from "./volumes.ts";

const folder = mkdtempSync(join(tmpdir(), "volumes-"));
afterAll(() => rmSync(folder, { recursive: true }));
let folders = 0;

function setUp(volumes: VolumeSpec[], mounts: ContainerSpec["volumeMounts"] = []) {
  const dir = join(folder, String(folders++));
  const container: ContainerSpec = { name: "main", image: "a", volumeMounts: mounts };
  const metadata = {
    name: "p",
    namespace: "d",
    uid: "u",
    resourceVersion: "1",
    creationTimestamp: "2026-01-01T00:00:00Z",
    labels: { app: "web" },
  };
  const pod: Pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [container], volumes } };
  const data = new Map([
    ["user", Buffer.from("joe")],
    ["password", Buffer.from("hush")],
  ]);
  const volumesDir = join(dir, "volumes");
  const prepare = (): void =>
    prepareVolumes({
      pod,
      volumesDir,
      place: { podIP: "127.0.0.1", hostIP: "127.0.0.1", nodeName: "local" },
      sources: {
        secret: (_ns, name) => (name === "s" ? data : undefined),
        configMap: (_ns, name) => (name === "c" ? new Map([["conf.json", Buffer.from("{}")]]) : undefined),
      },
    });
  return { pod, container, data, volumesDir, root: join(dir, "root"), prepare };
}

describe("volumes", () => {
  it("shows a secret as files for the owner only", () => {
    const { prepare, volumesDir } = setUp([{ name: "v", secret: { secretName: "s" } }]);
    prepare();
    expect(readFileSync(join(volumesDir, "v", "password"), "utf8")).toBe("hush");
    expect(statSync(join(volumesDir, "v", "password")).mode & 0o777).toBe(0o400);
  });

  it("replaces all files at once when the object changes and keeps the folder itself", () => {
    const { prepare, volumesDir, data } = setUp([{ name: "v", secret: { secretName: "s" } }]);
    prepare();
    const before = readlinkSync(join(volumesDir, "v", "..data"));
    prepare();
    expect(readlinkSync(join(volumesDir, "v", "..data"))).toBe(before);
    data.set("password", Buffer.from("louder"));
    data.delete("user");
    data.set("more", Buffer.from("x"));
    prepare();
    expect(readlinkSync(join(volumesDir, "v", "..data"))).not.toBe(before);
    expect(readFileSync(join(volumesDir, "v", "password"), "utf8")).toBe("louder");
    expect(readdirSync(join(volumesDir, "v")).filter((name) => !name.startsWith(".."))).toEqual([
      "more",
      "password",
    ]);
    expect(readdirSync(join(volumesDir, "v")).filter((name) => name.startsWith("..")).length).toBe(2);
  });

  it("takes chosen items, projected sources and the downward API", () => {
    const { prepare, volumesDir } = setUp([
      { name: "items", secret: { secretName: "s", items: [{ key: "user", path: "deep/who" }] } },
      {
        name: "all",
        projected: {
          sources: [
            { configMap: { name: "c" } },
            { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
            { secret: { name: "none", optional: true } },
          ],
        },
      },
    ]);
    prepare();
    expect(readFileSync(join(volumesDir, "items", "deep", "who"), "utf8")).toBe("joe");
    expect(readFileSync(join(volumesDir, "all", "conf.json"), "utf8")).toBe("{}");
    expect(readFileSync(join(volumesDir, "all", "labels"), "utf8")).toBe('app="web"');
  });

  it.each<[VolumeSpec, string]>([
    [{ name: "v", secret: { secretName: "none" } }, 'secret "none" not found'],
    [
      { name: "v", secret: { secretName: "s", items: [{ key: "nope", path: "x" }] } },
      "non-existent secret key: nope",
    ],
    [
      { name: "v", secret: { secretName: "s", items: [{ key: "user", path: "../x" }] } },
      'inside the volume, got "../x"',
    ],
    [
      { name: "v", persistentVolumeClaim: { claimName: "c" } },
      'volume "v" is a persistentVolumeClaim; local mode has emptyDir',
    ],
  ])("refuses %j", (volume, message) => expect(setUp([volume]).prepare).toThrow(message));

  it("mounts volumes under the root, also below one another and by subPath", () => {
    const { container, prepare, volumesDir, root } = setUp(
      [
        { name: "work", emptyDir: {} },
        { name: "v", secret: { secretName: "s" } },
      ],
      [
        { name: "v", mountPath: "/secrets/db" },
        { name: "work", mountPath: "/data" },
        { name: "work", mountPath: "/cache", subPath: "cached" },
        { name: "v", mountPath: "/one-file", subPath: "user" },
      ],
    );
    prepare();
    mountVolumes(container, root, volumesDir);
    mountVolumes(container, root, volumesDir);
    writeFileSync(join(root, "cache", "x"), "1");
    expect(readFileSync(join(root, "data", "cached", "x"), "utf8")).toBe("1");
    expect(readFileSync(join(root, "secrets", "db", "user"), "utf8")).toBe("joe");
    expect(readFileSync(join(root, "one-file"), "utf8")).toBe("joe");
  });

  it("refuses a mount that leaves the root", () => {
    const { container, prepare, volumesDir, root } = setUp(
      [{ name: "work", emptyDir: {} }],
      [{ name: "work", mountPath: "/../../etc" }],
    );
    prepare();
    expect(() => mountVolumes(container, root, volumesDir)).toThrow('got "../../etc"');
  });

  it("tells which objects are shown and whether containers want one path for two volumes", () => {
    const { pod } = setUp([
      { name: "a", secret: { secretName: "s" } },
      { name: "b", projected: { sources: [{ configMap: { name: "c" } }] } },
    ]);
    expect([...volumeSources(pod)]).toEqual(["secret/s", "configmap/c"]);
    expect(mountsClash(pod)).toBe(false);
    const mount = (name: string): ContainerSpec => ({
      name,
      image: "x",
      volumeMounts: [{ name, mountPath: "/data" }],
    });
    expect(mountsClash({ ...pod, spec: { ...pod.spec, containers: [mount("a"), mount("b")] } })).toBe(true);
  });
});
