import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { cidrsWithout, makeAddressPool, parseRange } from "./addresses.ts";

const folder = mkdtempSync(join(tmpdir(), "addresses-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const cursorFile = (): string => join(folder, `cursor-${files++}`);

describe.runIf(process.platform === "linux")("address pool", () => {
  it("hands out every address of the range once before any again", async () => {
    const pool = makeAddressPool("127.77.0.0/29", cursorFile());
    const seen: string[] = [];
    for (let index = 0; index < 12; index++) {
      const address = await pool.allocate([]);
      seen.push(address);
      pool.release(address);
    }
    expect(new Set(seen.slice(0, 6)).size).toBe(6);
    expect(seen.slice(6)).toEqual(seen.slice(0, 6));
  });

  it("says when all are in use, and goes on when one is released", async () => {
    const pool = makeAddressPool("127.77.1.0/30", cursorFile());
    const first = await pool.allocate([]);
    const second = await pool.allocate([]);
    await expect(pool.allocate([])).rejects.toThrow("all 2 of 127.77.1.0/30 are in use");
    pool.release(first);
    expect(await pool.allocate([])).toBe(first);
    expect(second).not.toBe(first);
  });

  it("does not start over after a restart", async () => {
    const file = cursorFile();
    const before = await makeAddressPool("127.77.8.0/22", file, () => 0).allocate([]);
    const after = await makeAddressPool("127.77.8.0/22", file, () => 0).allocate([]);
    expect(before).toBe("127.77.8.1");
    expect(after).toBe("127.77.8.65");
  });

  it("passes over an address whose port is held and over claimed ones", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.77.3.1", resolve));
    const held = server.address();
    const port = typeof held === "object" && held !== null ? held.port : 0;
    const pool = makeAddressPool("127.77.3.0/29", cursorFile(), () => 0);
    pool.claim("127.77.3.2");
    expect(await pool.allocate([port])).toBe("127.77.3.3");
    server.close();
  });

  it("explains a port that is held everywhere", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
    const held = server.address();
    const port = typeof held === "object" && held !== null ? held.port : 0;
    const pool = makeAddressPool("127.77.4.0/24", cursorFile());
    await expect(pool.allocate([port])).rejects.toThrow("a process listening on 0.0.0.0 holds it everywhere");
    server.close();
  });
});

it.each(["10.0.0.0/8", "127.0.0.0/4", "127.0.0.0/33", "127.0.0.300/24", "127.0.0.1"])(
  "refuses the range %s",
  (cidr) => expect(() => parseRange(cidr)).toThrow(`got "${cidr}"`),
);

describe("cidrsWithout", () => {
  it("covers the whole range but the address", () => {
    const cidrs = cidrsWithout("127.64.0.0/29", "127.64.0.5");
    expect(cidrs).toEqual(["127.64.0.0/30", "127.64.0.6/31", "127.64.0.4/32"]);
    expect(cidrsWithout("127.64.0.0/10", "127.64.0.1")).toHaveLength(22);
    expect(cidrsWithout("127.64.0.0/10", "127.0.0.1")).toEqual(["127.64.0.0/10"]);
  });
});
