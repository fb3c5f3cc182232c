import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createExecutor, type Executor } from "../../engine/executor/executor.ts";
import { EXECUTOR_SETTINGS, type ExecutorSettings } from "../../engine/executor/settings.ts";
import { parseSettings } from "../../net/settings.ts";
import {
  acquireRequest,
  ARCHIVE,
  DIGEST,
  environmentObject,
  FarSide,
  type FarSideOptions,
  functionObject,
  servingOf,
  SILENT,
} from "./far-side.ts";

const DEFAULTS = parseSettings(EXECUTOR_SETTINGS, { argv: ["--internal-key-file", "none"], env: {} });

beforeEach(() => {
  vi.useFakeTimers();
});
let running: Executor[] = [];
afterEach(async () => {
  const stopping = Promise.all(running.map((executor) => executor.stop()));
  running = [];
  await vi.advanceTimersByTimeAsync(5_000);
  await stopping;
  vi.useRealTimers();
});

function world(options: Partial<FarSideOptions> = {}): FarSide {
  const far = new FarSide(options);
  far.archives.set(DIGEST, ARCHIVE);
  return far;
}

async function executorOn(far: FarSide, settings: Partial<ExecutorSettings> = {}) {
  const { cluster, cut, connect } = far.client();
  const executor = createExecutor({
    cluster,
    archives: {
      read: async (digest) => {
        far.archiveReads += 1;
        const found = far.archives.get(digest);
        if (!found) throw new Error("404");
        return found;
      },
    },
    tokensOf: (namespace, name) => [`token of ${namespace}/${name}`],
    settings: { ...DEFAULTS, ...settings },
    log: SILENT,
    connect,
  });
  running.push(executor);
  const started = executor.start();
  await vi.advanceTimersByTimeAsync(200);
  await started;
  return { executor, cut };
}

test("a first call gets a specialised pod, its address is published and the pool is refilled", async () => {
  const far = world();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await executorOn(far);
  expect(far.living.filter((pod) => pod.state === "generic")).toHaveLength(3);

  const acquired = executor.acquire(acquireRequest("hello", "r1"));
  await vi.advanceTimersByTimeAsync(10);
  const { endpoints } = await acquired;

  const [pod] = far.specialised("r1");
  expect(endpoints).toEqual([
    {
      podUid: pod?.uid,
      podName: pod?.manifest.metadata.name,
      address: pod?.address,
      revision: "r1",
      requestsPerPod: 1,
    },
  ]);
  await vi.advanceTimersByTimeAsync(200);
  expect(far.published()).toEqual([pod?.uid]);
  expect(far.labels.get(pod?.uid ?? "")).toMatchObject({
    "isotope.dev/pod-state": "specialised",
    "isotope.dev/revision": "r1",
  });
  expect(far.living.filter(({ state }) => state === "generic")).toHaveLength(3);
});
