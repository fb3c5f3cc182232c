import { expect, test } from "vitest";
import { processLog } from "../../net/log.ts";
import { accessLog } from "./access-log.ts";
import type { Exchange } from "./http/types.ts";

const exchange = (changes: Partial<Exchange>): Exchange => {
  const made = {
    status: 200,
    outcome: "relayed",
    method: "GET",
    path: "/x",
    startedAt: 1_000,
    endedAt: 1_010,
    attempts: 1,
    clientAddress: "127.0.0.1",
    ...changes,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the log reads these fields only
  return made as Exchange;
};

test("errors mode logs what the platform failed, sparsely, and says how much it left out", () => {
  const lines: Record<string, unknown>[] = [];
  const log = accessLog("errors", processLog("router", { write: (line) => lines.push(JSON.parse(line)) }));
  const facts = { code: "", requestId: "r", function: "n/f" };
  log(exchange({}), facts);
  log(exchange({ status: 500 }), facts);
  log(exchange({ status: 429 }), { ...facts, code: "queue_full" });
  expect(lines).toEqual([]);
  log(exchange({ outcome: "upstream-broken" }), facts);
  for (let i = 0; i < 100; i += 1) log(exchange({ status: 502 }), { ...facts, code: "connection_refused" });
  expect(lines).toHaveLength(20);
  log(exchange({ status: 502, endedAt: 2_500 }), { ...facts, code: "connection_refused" });
  expect(lines.at(-1)).toMatchObject({
    level: "warn",
    code: "connection_refused",
    function: "n/f",
    status: 502,
    suppressedLines: 81,
  });
});

test("mode all logs every request, none nothing", () => {
  const lines: string[] = [];
  const log = processLog("router", { write: (line) => lines.push(line) });
  const facts = { code: "", requestId: "r", function: "n/f" };
  accessLog("none", log)(exchange({ status: 502 }), { ...facts, code: "internal" });
  expect(lines).toEqual([]);
  accessLog("all", log)(exchange({}), facts);
  expect(lines).toHaveLength(1);
});
