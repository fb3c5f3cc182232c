import { lookup } from "node:dns";
import { BlockList, isIP, isIPv6 } from "node:net";

/**
 * Addresses that a URL written by a tenant may not reach: the platform, its neighbours and metadata services. IPv4 inside IPv6
 * (mapped, NAT64, 6to4) is judged by the IPv4 address.
 */
const BLOCKED = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const) {
  BLOCKED.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  ["::", 128],
  ["::1", 128],
  ["100::", 64],
  ["2001:db8::", 32],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
] as const) {
  BLOCKED.addSubnet(network, prefix, "ipv6");
}

/** Whether an IP address is one of the public internet. */
export function isPublicAddress(address: string): boolean {
  const kind = isIP(address);
  if (kind === 4) return !BLOCKED.check(address, "ipv4");
  if (kind !== 6) return false;
  if (BLOCKED.check(address, "ipv6")) return false;
  const groups = expandIpv6(address);
  const embedded = embeddedIpv4(groups);
  return embedded === undefined || !BLOCKED.check(embedded, "ipv4");
}

/** The eight 16-bit groups of an IPv6 address. */
function expandIpv6(address: string): number[] {
  const withoutZone = address.split("%", 1)[0] ?? "";
  const hex = new URL(`http://[${withoutZone}]/`).hostname.slice(1, -1);
  const [head = "", tail] = hex.split("::");
  const parse = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const left = parse(head);
  const right = tail === undefined ? [] : parse(tail);
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}

function embeddedIpv4(groups: readonly number[]): string | undefined {
  const dotted = (high = 0, low = 0) => [high >> 8, high & 255, low >> 8, low & 255].join(".");
  const leadingZeros = groups.findIndex((group) => group !== 0);
  if (leadingZeros === 5 && groups[5] === 0xffff) return dotted(groups[6], groups[7]);
  if (leadingZeros >= 6 || leadingZeros === -1) return dotted(groups[6], groups[7]);
  if (leadingZeros === 4 && groups[4] === 0xffff && groups[5] === 0) return dotted(groups[6], groups[7]);
  if (groups[0] === 0x64 && groups[1] === 0xff9b) return dotted(groups[6], groups[7]);
  if (groups[0] === 0x2002) return dotted(groups[1], groups[2]);
  return undefined;
}

type LookupCallback = (error: Error | null, addresses: { address: string; family: number }[]) => void;

/**
 * A `lookup` for sockets that gives public addresses only, so that the address that was checked is the one that is connected to.
 * Hosts in `allowedHosts` may be anything.
 */
export function guardedLookup(allowedHosts: ReadonlySet<string>) {
  return (hostname: string, _options: unknown, callback: LookupCallback): void => {
    lookup(hostname, { all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const usable = allowedHosts.has(hostname)
        ? addresses
        : addresses.filter(({ address }) => isPublicAddress(address));
      if (usable.length > 0) return callback(null, usable);
      return callback(new Error(`host "${hostname}" has no public address`), []);
    });
  };
}

/** Refuses a literal address in a URL, which sockets connect to without a lookup. */
export function isAllowedHost(hostname: string, allowedHosts: ReadonlySet<string>): boolean {
  const bare = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  if (allowedHosts.has(bare)) return true;
  return isIP(bare) === 0 && !isIPv6(bare) ? true : isPublicAddress(bare);
}
