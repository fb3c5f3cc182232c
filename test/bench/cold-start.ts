/**
 * Cold starts through the router of a whole platform: functions that were never called, one after the other, with a pause.
 * Usage: node test/bench/cold-start.ts [--count 12] [--pause-ms 3000] [--kinds tiny,small]
 * The archives have been read ahead by the executor, as in service; every call finds a full pool of three.
 */
import { parseArgs } from "node:util";
import { sleep, startBenchPlatform } from "./bench-platform.ts";
import { metricValue } from "./metric-value.ts";
import { percentile, printConditions, printLoadAfter, printTable, spread } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "12" },
    "pause-ms": { type: "string", default: "3000" },
    kinds: { type: "string" },
  },
});
const count = Number(values.count);
const pauseMs = Number(values["pause-ms"]);
const wanted = values.kinds?.split(",");

const SMALL_BYTES = 50_000;
const LARGE_BYTES = 730_000;
const PARTS_CALLED = ["isotope_executor_acquire_seconds", "isotope_executor_specialise_seconds"] as const;

/** Code as a bundler leaves it: many small functions, all of which are kept. */
function code(bytes: number): string {
  const parts: string[] = [];
  for (let size = 0, n = 0; size < bytes; n += 1) {
    const part = `export const step${n} = (value, options = {}) => { const found = [value, options.x ?? ${n}].map((item) => item * ${n}); return found.length > ${n} ? found : { found, name: "step${n}" }; };\n`;
    parts.push(part);
    size += part.length;
  }
  return parts.join("");
}

interface Kind {
  readonly name: string;
  readonly title: string;
  readonly target: string;
  /** Module text of one function; `salt` makes its digest its own. */
  readonly source: (salt: string) => string;
}

const answer = (extra = ""): string => `export default () => new Response("ok"${extra});\n`;
const KINDS: readonly Kind[] = [
  {
    name: "tiny",
    title: "150 B bundle",
    target: "p50 <= 12, p95 <= 20",
    source: (salt) => `const salt = "${salt}";\n${answer(" + salt")}`,
  },
  {
    name: "small",
    title: "50 KB bundle",
    target: "p50 <= 12, p95 <= 20",
    source: (salt) => `${code(SMALL_BYTES)}export const salt = "${salt}";\n${answer()}`,
  },
  {
    name: "secret",
    title: "150 B bundle, one secret",
    target: "p50 <= 12, p95 <= 20",
    source: (salt) =>
      `export const config = { secrets: ["redis"] };\nconst salt = "${salt}";\nexport default (_request, ctx) => new Response(ctx.secrets.redis.url ? "ok" + salt : "no secret", { status: ctx.secrets.redis.url ? 200 : 500 });\n`,
  },
  {
    name: "large",
    title: "0.7 MB bundle",
    target: "<= 110",
    source: (salt) => `${code(LARGE_BYTES)}export const salt = "${salt}";\n${answer()}`,
  },
  {
    name: "npm",
    title: "npm bundle (zod)",
    target: "",
    source: (salt) =>
      `import { z } from "npm:zod@4";\nconst Person = z.object({ name: z.string() });\nexport default () => Response.json(Person.parse({ name: "${salt}" }));\n`,
  },
];

printConditions(
  `Cold start: ${count} calls of each kind, ${pauseMs} ms apart, pool of 3, end to end through the router`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(4);
try {
  const rows = [
    [
      "kind",
      "p50 ms",
      "p95 ms",
      "worst ms",
      "acquire p50",
      "specialise p50",
      "second call p50",
      "not 200",
      "target",
    ],
  ];
  // The caller's own first request must not count.
  const kinds = KINDS.filter(({ name }) => wanted === undefined || wanted.includes(name));
  await platform.deploy({ "warm.ts": answer() });
  for (let n = 0; n < 20; n += 1) await caller.get(`${platform.connection.routerUrl}/warm`);
  for (const kind of kinds) {
    const files: Record<string, string> = {};
    for (let n = 0; n < count; n += 1)
      files[`${kind.name}-${n}.ts`] = `// @ts-nocheck\n${kind.source(`${kind.name}${n}`)}`;
    try {
      await platform.deploy(files);
    } catch (error) {
      console.log(
        `${kind.title}: cannot be deployed here: ${error instanceof Error ? error.message.slice(-400) : String(error)}`,
      );
      continue;
    }
    const totals: number[] = [];
    const second: number[] = [];
    const inside: Record<string, number[]> = {};
    let bad = 0;
    for (let n = 0; n < count; n += 1) {
      await platform.poolFull();
      await sleep(pauseMs);
      const before = await platform.executorMetrics();
      const url = `${platform.connection.routerUrl}/${kind.name}-${n}`;
      const first = await caller.get(url);
      totals.push(first.ms);
      if (first.status !== 200) bad += 1;
      second.push((await caller.get(url)).ms);
      const after = await platform.executorMetrics();
      for (const part of PARTS_CALLED) {
        const grown = metricValue(after, `${part}_sum`) - metricValue(before, `${part}_sum`);
        (inside[part] ??= []).push(grown * 1000);
      }
    }
    const [acquire, specialise] = PARTS_CALLED.map((part) => percentile(inside[part] ?? [], 0.5).toFixed(1));
    rows.push([
      kind.title,
      ...spread(totals),
      acquire ?? "",
      specialise ?? "",
      percentile(second, 0.5).toFixed(1),
      String(bad),
      kind.target,
    ]);
  }
  printTable(rows);
} finally {
  caller.close();
  await platform.stop();
}
printLoadAfter();
