import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { array, assert, nat, property } from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { LogLine } from "../../api/wire/ops.ts";
import { processLog } from "../../net/log.ts";
import { type Collector, type CollectorOptions, createCollector } from "./collector.ts";
import { CriLineReader, MAX_TEXT_BYTES } from "./cri-lines.ts";
import { logLineOf } from "./log-line.ts";
import { type LogStore, openLogStore } from "./log-store.ts";
import type { StoredLine } from "./segment.ts";

let home: string;
const open: { stop(): void }[] = [];
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "isotope-logs-"));
});
afterEach(() => {
  for (const one of open.splice(0)) one.stop();
  rmSync(home, { recursive: true, force: true });
});

const origin = {
  namespace: "default",
  pod: "pod-1",
  container: "runtime",
  function: "hello",
  revision: "r1",
};
const at = (second: number) => new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();
const stored = (second: number, message: string, more: Partial<LogLine> = {}): StoredLine => ({
  from: `file@${second}`,
  line: { time: at(second), level: "info", message, ...origin, stream: "stdout", ...more },
});
async function all<T>(lines: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const line of lines) found.push(line);
  return found;
}
const messages = async (lines: AsyncIterable<LogLine>) => (await all(lines)).map(({ message }) => message);

function store(options: { maxBytes?: number; segmentBytes?: number; now?: () => Date } = {}): LogStore {
  const opened = openLogStore({ folder: join(home, "store"), maxBytes: 1e8, ...options });
  open.push({ stop: () => opened.close() });
  return opened;
}

test("CRI lines are the same however the bytes are cut, and safeOffset never passes an unfinished line", () => {
  const text = [
    "2026-01-01T00:00:00.000000001Z stdout F one",
    "2026-01-01T00:00:00.000000002Z stdout P long ",
    "2026-01-01T00:00:00.000000003Z stderr F between é 🦕",
    "not a log line",
    "2026-01-01T00:00:00.000000004Z stdout F tail",
    "2026-01-01T00:00:00.000000005Z stdout F ",
    "",
  ].join("\n");
  const bytes = Buffer.from(text);
  const expected = ["one", "between é 🦕", "long tail", ""];
  assert(
    property(array(nat(bytes.length), { maxLength: 12 }), (cuts) => {
      const reader = new CriLineReader(0);
      const found = [];
      let from = 0;
      for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
        found.push(...reader.push(bytes.subarray(from, cut)));
        from = cut;
      }
      expect(found.map((line) => line.text)).toEqual(expected);
      expect(found.map((line) => line.stream)).toEqual(["stdout", "stderr", "stdout", "stdout"]);
      expect(reader.safeOffset).toBe(bytes.length);
    }),
  );
  const reader = new CriLineReader(0);
  reader.push(bytes.subarray(0, text.indexOf("between")));
  expect(reader.safeOffset).toBe(
    Buffer.from(text.slice(0, text.indexOf("2026-01-01T00:00:00.000000002Z"))).length,
  );
});

test("a line longer than what is kept is cut and says so; bytes that are no text survive as replacement characters", () => {
  const reader = new CriLineReader(0);
  const piece = "x".repeat(16 * 1024);
  let found = reader.push(Buffer.from(`2026-01-01T00:00:00Z stdout P ${piece}\n`.repeat(20)));
  expect(found).toEqual([]);
  found = reader.push(Buffer.from("2026-01-01T00:00:00Z stdout F end\n"));
  expect(found[0]).toMatchObject({ cut: true });
  expect(found[0]?.text.length).toBe(MAX_TEXT_BYTES);
  const binary = reader.push(
    Buffer.concat([
      Buffer.from("2026-01-01T00:00:00Z stdout F "),
      Buffer.from([0xff, 0xfe, 0]),
      Buffer.from("\n"),
    ]),
  );
  expect(binary[0]?.text).toBe("��\u0000");
});

test("the runtime's lines speak for themselves, but for namespace and pod; all others are attributed by the pod", () => {
  const container = {
    time: "2026-01-01T00:00:00.123456789Z",
    stream: "stdout" as const,
    cut: false,
    endOffset: 0,
  };
  const runtime = {
    time: "2026-01-01T00:00:00.120Z",
    level: "warn",
    msg: "careful",
    function: "other",
    namespace: "foreign",
    revision: "r9",
    pod: "p",
    requestId: "q1",
    stack: "Error\n at x",
  };
  expect(logLineOf({ ...container, text: JSON.stringify(runtime) }, origin)).toEqual({
    time: "2026-01-01T00:00:00.120Z",
    level: "warn",
    message: "careful",
    namespace: "default",
    function: "other",
    revision: "r9",
    pod: "pod-1",
    container: "runtime",
    stream: "stdout",
    requestId: "q1",
    stack: "Error\n at x",
  });
  for (const text of [
    "plain",
    '{"msg":"mine"}',
    '{"time":"x","level":"info","msg":"m"}',
    '{"time":broken',
    "[1]",
  ]) {
    expect(logLineOf({ ...container, text }, origin)).toMatchObject({
      message: text,
      function: "hello",
      level: "info",
      time: "2026-01-01T00:00:00.123Z",
    });
  }
  expect(logLineOf({ ...container, stream: "stderr", text: "\u001b[31mred" }, origin)).toMatchObject({
    level: "error",
    ansi: true,
    message: "\u001b[31mred",
  });
});

test("queries: filters, order, limit, over several segments and a restart", async () => {
  let logs = store({ segmentBytes: 2_000 });
  for (let second = 0; second < 100; second++) {
    logs.append([
      stored(second, `line ${second}`, {
        level: second % 10 === 0 ? "error" : "info",
        requestId: `q${second % 3}`,
      }),
      stored(second, `other ${second}`, { function: "other" }),
    ]);
  }
  logs.close();
  logs = store({ segmentBytes: 2_000 });
  expect(readdirSync(join(home, "store")).filter((name) => name.endsWith(".ndjson")).length).toBeGreaterThan(
    5,
  );
  const hello = { namespace: "default", function: "hello" };
  expect(await messages(logs.query(hello, { order: "newest", limit: 3 }))).toEqual([
    "line 99",
    "line 98",
    "line 97",
  ]);
  expect(await messages(logs.query(hello, { order: "oldest", limit: 2 }))).toEqual(["line 0", "line 1"]);
  expect(
    await messages(logs.query({ ...hello, level: "error" }, { order: "oldest", limit: 100 })),
  ).toHaveLength(10);
  expect(
    await messages(
      logs.query({ ...hello, requestId: "q2", sinceMs: Date.parse(at(95)) }, { order: "oldest", limit: 9 }),
    ),
  ).toEqual(["line 95", "line 98"]);
  expect(
    await messages(
      logs.query({ search: "LINE 42", untilMs: Date.parse(at(50)) }, { order: "oldest", limit: 9 }),
    ),
  ).toEqual(["line 42"]);
  expect(await messages(logs.query({ function: "nobody" }, { order: "oldest", limit: 9 }))).toEqual([]);
  expect(logs.positions().get("file")).toBe(99);
});

test("the total stays bounded: the oldest go first, readers of what went are not disturbed", async () => {
  const logs = store({ maxBytes: 20_000, segmentBytes: 4_000 });
  logs.append([stored(0, "first")]);
  const reading = logs.query({}, { order: "oldest", limit: 1e6 });
  for (let second = 1; second < 500; second++) logs.append([stored(second, `line ${second}`)]);
  expect(logs.bytes).toBeLessThanOrEqual(24_000);
  const kept = await messages(logs.query({}, { order: "oldest", limit: 1e6 }));
  expect(kept.at(-1)).toBe("line 499");
  expect(kept).not.toContain("line 1");
  await all(reading);
  const files = readdirSync(join(home, "store")).map((name) => statSync(join(home, "store", name)).size);
  expect(files.reduce((sum, size) => sum + size, 0)).toBeLessThan(40_000);
});

test("an unfinished or damaged line that a crash left hides nothing else", async () => {
  const logs = store();
  logs.append([stored(1, "one"), stored(2, "two")]);
  logs.close();
  const [name = ""] = readdirSync(join(home, "store"));
  appendFileSync(join(home, "store", name), 'garbage\n{"time":"2026-01-01T00:00:03Z","mess');
  const again = store();
  again.append([stored(4, "four")]);
  expect(await messages(again.query({}, { order: "oldest", limit: 9 }))).toEqual(["one", "two", "four"]);
});

test("a follower sees the newest lines, then each new one once, in order", async () => {
  const logs = store();
  for (let second = 0; second < 50; second++) logs.append([stored(second, `old ${second}`)]);
  const stop = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    for await (const line of logs.follow({ function: "hello" }, { limit: 2, signal: stop.signal })) {
      seen.push(line.message);
      if (line.message === "new 99") stop.abort();
    }
  })();
  for (let second = 0; second < 100; second++) {
    logs.append([
      stored(100 + second, `new ${second}`),
      stored(100 + second, "not wanted", { function: "other" }),
    ]);
    if (second % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await following;
  expect(seen).toEqual(["old 48", "old 49", ...Array.from({ length: 100 }, (_, index) => `new ${index}`)]);
  expect(logs.followers).toBe(0);
});

const podFolder = () => join(home, "pods", "default_pod-1_uid-1", "runtime");
const line = (text: string, time = "2026-01-01T00:00:00Z") => `${time} stdout F ${text}\n`;

function collect(logs: LogStore, more: Partial<CollectorOptions> = {}): Collector {
  const collector = createCollector({
    root: join(home, "pods"),
    checkpointFile: join(home, "checkpoint.json"),
    stored: logs.positions(),
    sink: (lines) => logs.append(lines),
    factsOf: (uid) => (uid === "uid-1" ? { function: "hello", revision: "r1" } : undefined),
    log: processLog("logs", { level: "error" }),
    scanMs: 50,
    checkpointMs: 20,
    ...more,
  });
  collector.start();
  open.push(collector);
  return collector;
}

async function storedLines(logs: LogStore, count: number): Promise<string[]> {
  for (const end = performance.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
    const found = await messages(logs.query({}, { order: "oldest", limit: 1e6 }));
    if (found.length >= count || performance.now() > end) return found;
  }
}

test("the collector follows new pods, rotation and truncation, and attributes lines", async () => {
  const logs = store();
  collect(logs);
  mkdirSync(podFolder(), { recursive: true });
  const file = join(podFolder(), "0.log");
  writeFileSync(file, line("one") + line("two"));
  await storedLines(logs, 2);
  appendFileSync(file, line("three"));
  renameSync(file, `${file}.1`);
  writeFileSync(file, line("four"));
  await storedLines(logs, 4);
  appendFileSync(file, line("five"));
  await storedLines(logs, 5);
  truncateSync(file, 0);
  appendFileSync(file, line("six"));
  writeFileSync(join(podFolder(), "1.log"), line("restarted"));
  expect(await storedLines(logs, 7)).toEqual(["one", "two", "three", "four", "five", "six", "restarted"]);
  const found = await all(logs.query({}, { order: "newest", limit: 1 }));
  expect(found[0]).toMatchObject({
    namespace: "default",
    pod: "pod-1",
    container: "runtime",
    function: "hello",
    revision: "r1",
  });
});

test("a collector that is killed at any moment loses nothing and stores nothing twice", async () => {
  const file = join(podFolder(), "0.log");
  mkdirSync(podFolder(), { recursive: true });
  const logs = store({ segmentBytes: 3_000 });
  let written = 0;
  for (let round = 0; round < 8; round++) {
    // Killed: it never stops in order, so its last checkpoint is as old as it happens to be.
    const crashing = collect(logs, { checkpointMs: round % 2 === 0 ? 1e6 : 5 });
    for (let count = 0; count < 25; count++) appendFileSync(file, line(`line ${written++}`));
    await storedLines(logs, written);
    if (round === 4) {
      appendFileSync(file, line(`line ${written++}`));
      renameSync(file, `${file}.1`);
    }
    open.splice(open.indexOf(crashing), 1);
    crash(crashing);
    appendFileSync(file, line(`line ${written++}`));
  }
  collect(logs);
  const found = await storedLines(logs, written);
  expect(found).toEqual(Array.from({ length: written }, (_, index) => `line ${index}`));
  await expect.poll(() => existsSync(join(home, "checkpoint.json"))).toBe(true);
});

/** Ends a collector as a kill would: nothing more is read or written. */
function crash(collector: Collector): void {
  collector.abandon();
}
