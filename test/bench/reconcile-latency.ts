/**
 * How long the control plane takes from a written Package to the revision in `Function.status.serving`: with a built archive, and with
 * source through a builder that answers at once (the build itself is measured by the hot reload benchmark).
 * Conditions: API server, controller and caller in one process, archives in memory. Target: a small part of the 300 ms of a hot reload.
 */
import { once } from "node:events";
import { environment, fn, literalPackage } from "../controller/objects.ts";
import { MemoryArchives, runController, ScriptedBuilder, startKube } from "../controller/platform.ts";
import { createInformer } from "../../kube/informer.ts";
import { ENVIRONMENTS, FUNCTIONS, PACKAGES } from "../../kube/kinds.ts";
import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";

const ROUNDS = 100;
const kube = await startKube();
const builder = new ScriptedBuilder();
builder.answer = ({ source }) =>
  Promise.resolve({ outcome: "succeeded", artifact: source.bytes, sha256: source.sha256 });
const { controller } = runController(kube.client, { archives: new MemoryArchives(), builder });
const functions = createInformer({ client: kube.client, type: FUNCTIONS });
const served = new EventEmitter();
functions.subscribe({
  onChange: (change) => {
    if (change.type !== "delete") served.emit(change.object.status?.serving?.package.digest ?? "");
  },
});
functions.start();
await Promise.all([controller.synced, functions.synced]);
await kube.client.create(ENVIRONMENTS, environment("deno"));
await kube.client.create(FUNCTIONS, fn("hello"));
await kube.client.create(PACKAGES, literalPackage("pkg", "first"));

async function measure(part: "source" | "deployment"): Promise<void> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const text = `${part} ${round}`;
    const arrived = once(served, createHash("sha256").update(text).digest("hex"));
    const startedAt = performance.now();
    await kube.client.patch(
      PACKAGES,
      { namespace: "default", name: "pkg" },
      {
        spec: {
          [part]: {
            type: "literal",
            url: null,
            checksum: null,
            literal: Buffer.from(text).toString("base64"),
          },
        },
      },
    );
    await arrived;
    times.push(performance.now() - startedAt);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(share * (times.length - 1))] ?? 0).toFixed(1);
  process.stdout.write(
    `${part.padEnd(12)} ${String(ROUNDS).padStart(6)} ${at(0.5).padStart(8)} ${at(0.95).padStart(8)} ${at(1).padStart(8)}\n`,
  );
}
process.stdout.write("Package →      rounds   p50 ms   p95 ms   max ms\n");
await measure("deployment");
await measure("source");
await functions.stop();
await controller.stop();
await kube.stop();
