import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ODD_CASES } from "./odd-cases.ts";
import { type Core, converse, PLAN, startCore, startEcho } from "./raw-exchange.ts";

/**
 * Odd requests through the core to a node:http server, and straight to one: verdicts are compared, and whatever the core lets through
 * must have been understood by the server behind it as that server would have understood it alone.
 */

let echo: Awaited<ReturnType<typeof startEcho>>;
let core: Core;

beforeAll(async () => {
  echo = await startEcho();
  core = await startCore((exchange, { at }) =>
    exchange.relay(at(echo.port), exchange.path + exchange.query, "", PLAN),
  );
});

afterAll(async () => {
  await core.stop();
  echo.server.close();
  echo.server.closeAllConnections();
});

/** Up to eight ways to cut bytes in two, one in three, and byte by byte for what is short. */
function cuts(raw: string): string[][] {
  const out: string[][] = [];
  const step = Math.max(1, Math.floor(raw.length / 8));
  for (let at = 1; at < raw.length; at += step) out.push([raw.slice(0, at), raw.slice(at)]);
  const third = Math.floor(raw.length / 3);
  if (third > 0) out.push([raw.slice(0, third), raw.slice(third, 2 * third), raw.slice(2 * third)]);
  if (raw.length < 120) out.push(raw.split(""));
  return out;
}

/** The bodies that the echo server sent back, as far as they are comparable. */
function understood(text: string): unknown[] {
  return [...text.matchAll(/\{"method".*?\}\}/g)].map(([json]) => {
    const { method, url, body } = JSON.parse(json) as { method: string; url: string; body: string };
    return { method, url: url.replace(/^https?:\/\/[^/?]*/i, "").replace(/^(?!\/|\*)/, "/"), body };
  });
}

/** An answer may take its time on a busy machine; that there is none shows after a moment. */
function patience(status: number): number {
  return status === 0 ? 200 : 60_000;
}

it("has at least 120 cases with different names", () => {
  expect(new Set(ODD_CASES.map(({ name }) => name)).size).toBe(ODD_CASES.length);
  expect(ODD_CASES.length).toBeGreaterThanOrEqual(120);
});

describe("odd requests", () => {
  it.concurrent.each(ODD_CASES)("$name", async ({ raw, status, node = status, count = 1 }) => {
    const [own, theirs] = await Promise.all([
      converse(core.port, [raw], count, patience(status)),
      converse(echo.port, [raw], count, patience(node)),
    ]);
    expect({ own: own.statuses[0] ?? 0, node: theirs.statuses[0] ?? 0 }).toEqual({ own: status, node });
    if (status >= 400) {
      expect(own.statuses).toHaveLength(1);
      expect(own.text).toContain("connection: close\r\n");
      expect(own.text).toMatch(/\{"component":"router","reason":"[a-z_]+"/);
    } else if (status === 200 && node === 200) {
      expect(own.statuses).toEqual(theirs.statuses);
      expect(understood(own.text)).toEqual(understood(theirs.text));
    }
    for (const parts of cuts(raw)) {
      const cut = await converse(core.port, parts, count, patience(status));
      expect({ parts: parts.length, first: parts[0], statuses: cut.statuses }).toEqual({
        parts: parts.length,
        first: parts[0],
        statuses: own.statuses,
      });
    }
  });
});
