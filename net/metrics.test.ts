import { expect, test } from "vitest";
import { metricsRegistry } from "./metrics.ts";
import { serveMetrics } from "./metrics-server.ts";

test("the text format: counters, gauges, cumulative histogram buckets, escaped labels", () => {
  const registry = metricsRegistry();
  const calls = registry.counter({ name: "calls_total", help: "Calls", labels: ["function", "code"] });
  calls.series({ function: 'a"b\\c\nd', code: "200" }).value += 2;
  registry.gauge({ name: "depth", help: "Depth" }).series({}).value = 3;
  registry.gaugeOf({ name: "age", help: "Age" }, () => 7);
  const latency = registry
    .histogram({ name: "latency_ms", help: "Latency", bounds: [1, 10], labels: ["f"] })
    .series({ f: "x" });
  for (const value of [0.5, 1, 5, 50]) latency.observe(value);
  const text = registry.text();
  expect(text).toContain('calls_total{function="a\\"b\\\\c\\nd",code="200"} 2\n');
  expect(text).toContain("# TYPE depth gauge\ndepth 3\n");
  expect(text).toContain("age 7\n");
  expect(text).toContain(
    'latency_ms_bucket{f="x",le="1"} 2\nlatency_ms_bucket{f="x",le="10"} 3\nlatency_ms_bucket{f="x",le="+Inf"} 4\nlatency_ms_sum{f="x"} 56.5\nlatency_ms_count{f="x"} 4\n',
  );
});

test("series beyond the bound are counted as other, removed ones make room", () => {
  const registry = metricsRegistry();
  const calls = registry.counter({ name: "calls_total", help: "Calls", labels: ["function"], maxSeries: 2 });
  for (const name of ["a", "b", "c", "d"]) calls.series({ function: name }).value += 1;
  expect(registry.text()).toContain('calls_total{function="other"} 2\n');
  expect(registry.text()).not.toContain('"c"');
  calls.remove({ function: "a" });
  calls.remove({ function: "b" });
  calls.series({ function: "c" }).value += 1;
  expect(registry.text()).toContain('calls_total{function="c"} 1\n');
});

test("a name twice is refused", () => {
  const registry = metricsRegistry();
  registry.counter({ name: "a", help: "A" });
  expect(() => registry.gauge({ name: "a", help: "A" })).toThrow(/twice/);
});

test("the server answers metrics, health and readiness", async () => {
  let reason: string | undefined = "the watch of functions is not synced";
  const registry = metricsRegistry();
  const server = await serveMetrics({ host: "127.0.0.1", port: 0, registry, notReady: () => reason });
  const get = async (path: string) => {
    const reply = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return [reply.status, await reply.text()];
  };
  expect(await get("/readyz")).toEqual([503, "the watch of functions is not synced\n"]);
  reason = undefined;
  expect(await get("/readyz")).toEqual([200, "ok\n"]);
  expect(await get("/healthz")).toEqual([200, "ok\n"]);
  expect((await get("/metrics"))[0]).toBe(200);
  expect((await get("/x"))[0]).toBe(404);
  await server.close();
});
