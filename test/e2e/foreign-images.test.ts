import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { CONFIG_MAPS, PODS, SECRETS } from "../../kube/core.ts";
import { ENVIRONMENTS, FUNCTIONS } from "../../kube/kinds.ts";
import { writeZip } from "../../net/archive/write-zip.ts";
import { currentCluster } from "../cluster/cluster.ts";
import { type PythonImages, pythonImages } from "../cluster/python-images.ts";
import { PYTHON } from "../env/python/python-runtime.ts";
import { startTestPlatform } from "./platform.ts";
import type { TestPlatform } from "./test-platform.ts";

/** Environments whose images know nothing of the platform: a runtime and a builder in Python, written to the contract alone. */
const ROOT = join(import.meta.dirname, "..", "..");
const LOCAL: PythonImages = {
  runtime: "python-env:1",
  shared: "python-shared-env:1",
  builder: "python-builder:1",
};
const folder = mkdtempSync(join(tmpdir(), "isotope-foreign-"));
let platform: TestPlatform;
let kube: KubeClient;
let images: PythonImages;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  if (platform.installed) images = await pythonImages(currentCluster());
  else images = localImages();
}, 300_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** localkube follows the file that says which images it can run. */
function localImages(): PythonImages {
  const file = join(platform.home, "run", "images.json");
  const table: { images: unknown[] } = JSON.parse(readFileSync(file, "utf8"));
  const program = (name: string) => [PYTHON, join(ROOT, "test/env/python", name), "--host", "${POD_IP}"];
  const server = [...program("server.py"), "--port", "${PORT}", "--userfunc", "${ROOT}/userfunc"];
  const env = {
    SECRETS_FOLDER: "${ROOT}/secrets",
    CONFIGS_FOLDER: "${ROOT}/configs",
    PYTHONDONTWRITEBYTECODE: "1",
  };
  table.images.push(
    { match: LOCAL.runtime, command: server, env },
    { match: LOCAL.shared, command: [...server, "--infinite"], env },
    { match: LOCAL.builder, command: [...program("builder.py"), "--packages", "${ROOT}/packages"], env: {} },
  );
  writeFileSync(file, JSON.stringify(table));
  return LOCAL;
}

async function cli(...args: string[]): Promise<string> {
  const { code, out, err } = await platform.cli(args, { cwd: folder });
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}:\n${out}\n${err}`);
  return out;
}

function write(name: string, content: string | Uint8Array): string {
  writeFileSync(join(folder, name), content);
  return name;
}

const environment = (name: string, spec: Record<string, unknown>) =>
  kube.create(ENVIRONMENTS, {
    apiVersion: "fission.io/v1",
    kind: "Environment",
    metadata: { name, namespace: platform.namespace },
    spec: { version: 3, runtime: { image: images.runtime }, poolsize: 1, terminationGracePeriod: 5, ...spec },
  });

/** A function with a route at its name. */
async function fn(name: string, env: string, code: string, ...flags: string[]): Promise<void> {
  await cli("fn", "create", "--name", name, "--env", env, ...flags, "--code", write(`${name}.py`, code));
  await route(name);
}
const route = (name: string) =>
  cli("httptrigger", "create", "--name", name, "--function", name, "--url", `/${platform.namespace}-${name}`);

const call = async (name: string, path = ""): Promise<string> => {
  const reply = await platform.get(`/${platform.namespace}-${name}${path}`);
  return `${reply.status} ${(await reply.text()).trim()}`;
};
const answers = (name: string, text: string) =>
  vi.waitFor(async () => expect(await call(name)).toBe(text), { timeout: 90_000, interval: 200 });

const SLOW = `
import os, socket, threading, time
lock, inside, most = threading.Lock(), 0, 0
def main(request):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
    time.sleep(0.05)
    with lock:
        inside -= 1
    return f"{socket.gethostname()}/{os.getpid()} {most}"
`;

it("answers through functions of versions 1, 2 and 3, and sees the path that the contract promises", async () => {
  for (const version of [1, 2, 3]) {
    await environment(`python-v${version}`, { version });
    await fn(
      `v${version}`,
      `python-v${version}`,
      "def main(request):\n    return f'{request.method} {request.path}'\n",
    );
    await answers(`v${version}`, "200 GET /");
    // Each router hears of a route by itself.
    await vi.waitFor(async () => expect(await call(`v${version}`, "?a=b")).toBe("200 GET /?a=b"), {
      timeout: 60_000,
      interval: 200,
    });
  }
});

it("has secrets and config maps as files, takes up their new content, and has no credentials of Kubernetes", async () => {
  const ref = { namespace: platform.namespace, name: "app" };
  await kube.create(SECRETS, { metadata: ref, data: { key: Buffer.from("one").toString("base64") } });
  await kube.create(CONFIG_MAPS, { metadata: ref, data: { mode: "fast" } });
  const code = `
import os
def main(request):
    read = lambda *path: open(os.path.join(*path)).read()
    place = "${platform.namespace}/app"
    token = os.path.exists("/var/run/secrets/kubernetes.io") or any("TOKEN" in name for name in os.environ)
    return f'{read(request.secrets, place, "key")} {read(request.configs, place, "mode")} {token}'
`;
  await fn("files", "python-v3", code, "--secret", "app", "--configmap", "app");
  await answers("files", "200 one fast False");
  await kube.patch(SECRETS, ref, { data: { key: Buffer.from("two").toString("base64") } });
  await answers("files", "200 two fast False");
  const { items } = await kube.list(PODS, {
    namespace: platform.namespace,
    labelSelector: "isotope.dev/contract=sidecar",
  });
  expect(items.length).toBeGreaterThan(0);
  for (const { spec } of items) {
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(JSON.stringify(spec.containers.find(({ name }) => name === "runtime"))).not.toContain("TOKEN");
  }
});

it("gives a zip over as it is where the environment keeps archives", async () => {
  await environment("python-zip", { keeparchive: true });
  const zip = await writeZip([
    { path: "main.py", bytes: Buffer.from("def main(request):\n    return __file__\n") },
  ]);
  await cli(
    "fn",
    "create",
    "--name",
    "zipped",
    "--env",
    "python-zip",
    "--deployarchive",
    write("code.zip", zip),
  );
  await route("zipped");
  await vi.waitFor(
    async () => expect(await call("zipped")).toMatch(/^200 .*\/userfunc\/deployarchive\/main\.py$/),
    {
      timeout: 60_000,
      interval: 200,
    },
  );
});

it("keeps requestsPerPod and concurrency over two routers", async () => {
  await fn("slow", "python-v3", SLOW, "--requestsperpod", "2", "--concurrency", "1");
  await vi.waitFor(async () => expect(await call("slow")).toMatch(/^200 /), {
    timeout: 60_000,
    interval: 200,
  });
  const other = await platform.otherRouter();
  try {
    const urls = [
      `${other.url}/${platform.namespace}-slow`,
      `${platform.connection.routerUrl}/${platform.namespace}-slow`,
    ];
    const replies = await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        const reply = await fetch(urls[at % 2] ?? "");
        return { status: reply.status, text: await reply.text() };
      }),
    );
    expect(replies.filter(({ status }) => ![200, 429, 503].includes(status))).toEqual([]);
    const served = replies.filter(({ status }) => status === 200).map(({ text }) => text.split(" "));
    expect(new Set(served.map(([pod]) => pod)).size).toBe(1);
    expect(Math.max(...served.map(([, most]) => Number(most)))).toBe(2);
  } finally {
    other.stop();
  }
});

it("runs several functions in one pod where the environment allows it", async () => {
  await environment("python-shared", {
    runtime: { image: images.shared },
    allowedFunctionsPerContainer: "infinite",
  });
  const code = (name: string) =>
    `import os, socket\ndef main(request):\n    return f"${name} {socket.gethostname()}/{os.getpid()}"\n`;
  await fn("share-a", "python-shared", code("a"));
  await fn("share-b", "python-shared", code("b"));
  const pods: string[] = [];
  for (const name of ["a", "b"]) {
    await vi.waitFor(async () => expect(await call(`share-${name}`)).toMatch(new RegExp(`^200 ${name} `)), {
      timeout: 60_000,
      interval: 200,
    });
    pods.push((await call(`share-${name}`)).slice(`200 ${name} `.length));
  }
  expect(new Set(pods).size).toBe(1);
});

it("builds packages with a builder of the contract", async () => {
  await environment("python-built", { builder: { image: images.builder } });
  const zip = await writeZip([
    { path: "main.py", bytes: Buffer.from("import lib\ndef main(request):\n    return lib.NAME\n") },
    { path: "lib.py", bytes: Buffer.from("NAME = 'built'\n") },
  ]);
  await cli(
    "fn",
    "create",
    "--name",
    "built",
    "--env",
    "python-built",
    "--sourcearchive",
    write("source.zip", zip),
  );
  await route("built");
  await answers("built", "200 built");
});

it("says what only the platform's own runtime can be given", async () => {
  const code = write("env.py", "def main(request):\n    return ''\n");
  await platform.cli(
    ["fn", "create", "--name", "variables", "--env", "python-v3", "-e", "A=b", "--code", code],
    {
      cwd: folder,
    },
  );
  await vi.waitFor(
    async () => {
      const found = await kube.get(FUNCTIONS, { namespace: platform.namespace, name: "variables" });
      const ready = found.status?.conditions?.find(({ type }) => type === "Ready");
      expect(ready).toMatchObject({ status: "False", reason: "EnvNotSupported" });
    },
    { timeout: 60_000 },
  );
});
