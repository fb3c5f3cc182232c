/**
 * 1. An address is handed out again only after all others of the range have had their turn since, also across restarts: the
 *    cursor is on disk, ahead of what was handed out.
 * 2. An address whose ports another process holds is passed over.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";

const RESERVE_AHEAD = 64;
const MAX_TRIES = 16;

export interface AddressPool {
  /** An address none of whose `ports` is taken. Rejects when the range is used up or the ports are held everywhere. */
  allocate(ports: readonly number[]): Promise<string>;
  /** Marks an address as used by a pod that was found running. */
  claim(address: string): void;
  release(address: string): void;
  /** The CIDRs that cover the range without one address: what a pod at that address may be denied to call. */
  othersThan(address: string): string[];
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** First usable address and how many there are; the network's own and its last are left out where there are more than two. */
export function parseRange(cidr: string): { first: number; count: number } {
  const match = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3})\/(\d{1,2})$/.exec(cidr);
  const bits = Number(match?.[2]);
  const base = toNumber(match?.[1] ?? "");
  if (!match || bits < 8 || bits > 32 || match[1]?.split(".").some((part) => Number(part) > 255)) {
    throw new Error(
      `Cannot hand out pod addresses: range must lie in 127.0.0.0/8, like "127.64.0.0/10", got "${cidr}"`,
    );
  }
  const size = 2 ** (32 - bits);
  const network = Math.floor(base / size) * size;
  return size > 2 ? { first: network + 1, count: size - 2 } : { first: network, count: size };
}

function isFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

async function allFree(address: string, ports: readonly number[]): Promise<boolean> {
  for (const port of ports) if (!(await isFree(address, port))) return false;
  return true;
}

/** A free port on 127.0.0.1, for systems where only that address exists. */
export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host: "127.0.0.1", port: 0 }, () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** The CIDRs that cover `cidr` without `address`, the largest first. */
export function cidrsWithout(cidr: string, address: string): string[] {
  const [network = "", bits = "32"] = cidr.split("/");
  const own = toNumber(address);
  let size = 2 ** (32 - Number(bits));
  let base = Math.floor(toNumber(network) / size) * size;
  if (own < base || own >= base + size) return [cidr];
  const result: string[] = [];
  while (size > 1) {
    size /= 2;
    const inUpperHalf = own >= base + size;
    result.push(`${toAddress(inUpperHalf ? base : base + size)}/${32 - Math.log2(size)}`);
    if (inUpperHalf) base += size;
  }
  return result;
}

/** Hands out the addresses of `cidr`, starting at a place of its own so that two ranges in use side by side seldom meet. */
export function makeAddressPool(
  cidr: string,
  cursorFile: string,
  random: () => number = Math.random,
): AddressPool {
  const { first, count } = parseRange(cidr);
  const used = new Set<string>();
  const readCursor = (): number => {
    try {
      const value = Number(readFileSync(cursorFile, "utf8"));
      return Number.isInteger(value) && value >= 0 && value < count ? value : Math.floor(random() * count);
    } catch {
      return Math.floor(random() * count);
    }
  };
  let cursor = readCursor();
  let reserved = 0;
  const next = (): string => {
    if (reserved === 0) {
      reserved = RESERVE_AHEAD;
      writeFileSync(cursorFile, String((cursor + RESERVE_AHEAD) % count));
    }
    reserved -= 1;
    const address = toAddress(first + cursor);
    cursor = (cursor + 1) % count;
    return address;
  };
  return {
    async allocate(ports) {
      let tries = 0;
      for (let looked = 0; looked < count && tries < MAX_TRIES; looked += 1) {
        const address = next();
        if (used.has(address)) continue;
        tries += 1;
        used.add(address);
        if (await allFree(address, ports)) return address;
        used.delete(address);
      }
      if (tries === 0) throw new Error(`Cannot give the pod an address: all ${count} of ${cidr} are in use`);
      throw new Error(
        `Cannot give the pod an address: port ${ports.join(", ")} was taken on each of ${tries} addresses of ${cidr}; a process listening on 0.0.0.0 holds it everywhere`,
      );
    },
    claim: (address) => void used.add(address),
    release: (address) => void used.delete(address),
    othersThan: (address) => cidrsWithout(cidr, address),
  };
}
