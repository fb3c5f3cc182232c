import { expect, test } from "vitest";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";
import { newWorkload } from "./workload.ts";
import { createWorkloadWriter } from "./workload-writer.ts";

const environment = {
  metadata: { name: "deno", namespace: "default", uid: "uid-env" },
  spec: { version: 3, runtime: { image: "isotope/deno-env:1" } },
};
// Only what is written of them.
const revision = {
  key: "uid-fn/rev",
  identity: { namespace: "default", name: "hello", uid: "uid-fn" },
  serving: { revision: "rev", environment: { name: "deno" }, package: {}, limits: {} },
  pods: () => new Set(),
} as unknown as Revision;
const pod = (name: string) => ({ namespace: "default", name, uid: name, phase: "specialised" }) as Pod;

test("a smaller number is written only when every pod that goes for it is marked, also one retired meanwhile", async () => {
  const workload = newWorkload(revision, true, undefined);
  Object.assign(workload, { exists: true, replicas: 2, written: 3 });
  workload.retiring.add(pod("first"));
  const marked: string[] = [];
  const written: [number, string[]][] = [];
  const idle = Promise.withResolvers<void>();
  const writer = createWorkloadWriter({
    cluster: {
      annotatePod: (_namespace, name) => {
        marked.push(name);
        if (name === "first") {
          workload.retiring.add(pod("second"));
          workload.replicas = 1;
          writer.touch(workload);
        }
        return Promise.resolve(true);
      },
      applyReplicaSet: ({ spec }) => {
        written.push([spec.replicas ?? -1, [...marked]]);
        return Promise.resolve(1);
      },
      orphanReplicaSet: () => Promise.resolve(),
      handOverPod: () => Promise.resolve(true),
    },
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    tokensOf: () => ["token"],
    environment: () => environment,
    onIdle: () => idle.resolve(),
  });
  writer.touch(workload);
  await idle.promise;
  writer.close();
  expect(written).toEqual([[1, ["first", "second"]]]);
  expect(workload.retiring.size).toBe(0);
});
