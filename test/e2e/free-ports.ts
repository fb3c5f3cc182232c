import { createServer } from "node:net";

const PORTS_IN_A_ROW = 10;

const isFree = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const server = createServer();
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });

/** Test files that run at the same time choose among different rows: what one has chosen is free until its platform listens. */
const LANES = 8;
const lane = Number(process.env["VITEST_POOL_ID"] ?? 0) % LANES;
/** Those of this file, which may not listen yet. */
const chosen = new Set<number>();

/** The first of a row of free ports, away from the default ones and from the ephemeral range. */
export async function freePortBase(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const row = Math.floor(Math.random() * 160) * LANES + lane;
    const base = 10_000 + row * PORTS_IN_A_ROW;
    if (chosen.has(base)) continue;
    chosen.add(base);
    const free = await Promise.all(Array.from({ length: PORTS_IN_A_ROW }, (_, at) => isFree(base + at)));
    if (free.every(Boolean)) return base;
  }
  throw new Error("Cannot find a row of free ports");
}
