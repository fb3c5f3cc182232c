/**
 * Writes per second and watch latency of localkube, with raw https and keep-alive connections:
 *
 *   node test/bench/localkube.ts [--seconds 10] [--rate 1000] [--watchers 4]
 *
 * Target: 1,000 writes/s with 4 watchers, watch latency p50 ≤ 1 ms and p99 ≤ 15 ms. Latency is measured in this
 * process, from the moment the server's answer to the write is read to the moment the event is read (negative when the
 * event came first counts as 0), and from the moment the write is sent ("send to event").
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { type Connection, openConnection } from "../api/api-client.ts";
import { spawnLocalkube } from "../api/spawn-localkube.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    rate: { type: "string", default: "1000" },
    watchers: { type: "string", default: "4" },
  },
});
const SECONDS = Number(values.seconds);
const RATE = Number(values.rate);
const WATCHERS = Number(values.watchers);
const OBJECTS = 200;
const PATH = "/api/v1/namespaces/default/configmaps";

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

const row = (name: string, value: string, target = ""): void =>
  console.log(`${name.padEnd(52)} ${value.padStart(22)}   ${target}`);

function latencyRow(name: string, samples: number[], target = ""): void {
  const sorted = samples.toSorted((a, b) => a - b);
  const shown = [0.5, 0.9, 0.99, 1].map((share) => percentile(sorted, share).toFixed(1)).join(" / ");
  row(`${name}: p50 / p90 / p99 / max ms`, shown, target);
}

const rss = (pid: number): string => {
  const kb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  return `${(kb / 1024).toFixed(0)} MB`;
};

/** CPU time that a process has used so far, in ms. */
const cpuMs = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

async function createAll(connection: Connection, prefix: string, count: number): Promise<number> {
  const startMs = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      const data = { payload: "x".repeat(400), n: String(n) };
      const answer = await connection.request("POST", PATH, {
        metadata: { name: `${prefix}-${n}`, labels: { bench: prefix } },
        data,
      });
      if (answer.status !== 201) throw new Error(answer.text);
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  return (count / (performance.now() - startMs)) * 1000;
}

interface Latencies {
  fromAnswer: number[];
  fromSend: number[];
  rate: number;
}

/** Patches at a fixed rate while the watchers read. */
async function paced(connection: Connection, kubeconfig: string): Promise<Latencies> {
  const sent = new Map<string, number>();
  const answered = new Map<string, number>();
  const seen: { version: string; atMs: number; sentAtMs: number }[] = [];
  const connections = Array.from({ length: WATCHERS }, () => openConnection(kubeconfig));
  const version = (await connection.request("GET", `${PATH}?limit=1`)).body.metadata
    .resourceVersion as string;
  const watches = await Promise.all(
    connections.map((each) =>
      each.watch(`${PATH}?watch=true&resourceVersion=${version}`, {}, (event) => {
        const sentAtMs = sent.get(event.object.data?.mark as string);
        if (sentAtMs !== undefined) {
          seen.push({
            version: event.object.metadata.resourceVersion as string,
            atMs: performance.now(),
            sentAtMs,
          });
        }
      }),
    ),
  );
  const patch = async (path: string, mark: string): Promise<void> => {
    const answer = await connection.request(
      "PATCH",
      path,
      { data: { mark } },
      { contentType: "application/merge-patch+json" },
    );
    if (answer.status !== 200) throw new Error(answer.text);
    answered.set(answer.body.metadata.resourceVersion as string, performance.now());
  };
  const startMs = performance.now();
  const total = SECONDS * RATE;
  const open: Promise<void>[] = [];
  for (let n = 0; n < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startMs) / 1000) * RATE));
    for (; n < due; n++) {
      const mark = `m${n}`;
      sent.set(mark, performance.now());
      open.push(patch(`${PATH}/bench-${n % OBJECTS}`, mark));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(open);
  const rate = total / ((performance.now() - startMs) / 1000);
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (const watch of watches) watch.close();
  for (const each of connections) each.close();
  return {
    fromAnswer: seen.map(({ version: rv, atMs }) => Math.max(0, atMs - (answered.get(rv) ?? atMs))),
    fromSend: seen.map(({ atMs, sentAtMs }) => atMs - sentAtMs),
    rate,
  };
}

const server = await spawnLocalkube();
try {
  const connection = openConnection(server.kubeconfig);
  console.log(
    `localkube, ${cpus().length} cores, Node ${process.versions.node}, every write synced to disk, objects of ~0.8 kB, client and server on one machine\n`,
  );
  row("memory, idle, API alone", rss(server.pid), "≤ 90 MB");
  let usedMs = cpuMs(server.pid);
  row("creates, 16 at a time", `${(await createAll(connection, "bench", 4000)).toFixed(0)}/s`, "≥ 1,000/s");
  row("server CPU per create", `${((cpuMs(server.pid) - usedMs) / 4).toFixed(0)} µs`);
  usedMs = cpuMs(server.pid);
  const { fromAnswer, fromSend, rate } = await paced(connection, server.kubeconfig);
  row(
    "server CPU per patch and its events",
    `${(((cpuMs(server.pid) - usedMs) / (SECONDS * RATE)) * 1000).toFixed(0)} µs`,
  );
  row(
    `patches offered ${RATE}/s for ${SECONDS} s, ${WATCHERS} watchers`,
    `${rate.toFixed(0)}/s`,
    "≥ 1,000/s",
  );
  latencyRow("event after the answer", fromAnswer, "p50 ≤ 1, p99 ≤ 15");
  latencyRow("event after sending the write", fromSend);
  row("events delivered", `${fromAnswer.length} of ${SECONDS * RATE * WATCHERS}`);
  const counts = (await connection.request("GET", `${PATH}?limit=1`)).body.metadata
    .remainingItemCount as number;
  await createAll(connection, "list", Math.max(0, 5000 - counts - 1));
  const listMs: number[] = [];
  for (let n = 0; n < 20; n++) {
    const startMs = performance.now();
    await connection.request("GET", PATH);
    listMs.push(performance.now() - startMs);
  }
  latencyRow("list of 5,000 objects, parsed by the client", listMs);
  row("memory with 5,000 objects", rss(server.pid));
  connection.close();
} finally {
  await server.stop();
}
