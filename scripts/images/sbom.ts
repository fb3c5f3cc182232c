import { createHash } from "node:crypto";
import { z } from "zod";
import type { NpmPackage } from "./bundle-program.ts";
import type { DebianPackage } from "./debian-base.ts";

export interface SbomInput {
  readonly image: string;
  readonly tag: string;
  readonly version: string;
  readonly npm: readonly NpmPackage[];
  readonly debian: readonly DebianPackage[];
  /** Text of the package-lock.json that the npm packages were installed by. */
  readonly lock: string;
}

const Lock = z.looseObject({
  packages: z.record(
    z.string(),
    z.looseObject({ version: z.string().optional(), integrity: z.string().optional() }),
  ),
});

/** CycloneDX 1.6: what is in an image, with the digests of the lock file. The same content gives the same text. */
export function sbom(input: SbomInput): string {
  const integrity = integrityOf(input.lock);
  const components = [
    ...input.debian.map(({ name, version, architecture }) => ({
      type: "library",
      "bom-ref": `deb:${name}`,
      name,
      version,
      purl: `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`,
    })),
    ...unique(input.npm).map(({ name, version, license }) => {
      const hash = integrity.get(`${name}@${version}`);
      return {
        type: name === "node" || name === "deno" ? "platform" : "library",
        "bom-ref": `npm:${name}@${version}`,
        name,
        version,
        ...(license === "NOASSERTION" ? {} : { licenses: [{ expression: license }] }),
        ...(hash === undefined ? {} : { hashes: [{ alg: "SHA-512", content: hash }] }),
        purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
      };
    }),
  ];
  const component = { type: "container", "bom-ref": input.image, name: input.image, version: input.tag };
  const serial = createHash("sha256")
    .update(JSON.stringify([component, components]))
    .digest("hex");
  return `${JSON.stringify(
    {
      bomFormat: "CycloneDX",
      specVersion: "1.6",
      serialNumber: `urn:uuid:${uuidOf(serial)}`,
      version: 1,
      metadata: { component, properties: [{ name: "isotope:version", value: input.version }] },
      components,
    },
    undefined,
    1,
  )}\n`;
}

function unique(packages: readonly NpmPackage[]): NpmPackage[] {
  return [...new Map(packages.map((one) => [`${one.name}@${one.version}`, one])).values()];
}

/** `name@version` → SHA-512 in hex. */
function integrityOf(lock: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [path, { version, integrity }] of Object.entries(Lock.parse(JSON.parse(lock)).packages)) {
    const name = /(?:^|.*\/)node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
    const digest = /^sha512-(\S+)/.exec(integrity ?? "")?.[1];
    if (name !== undefined && version !== undefined && digest !== undefined)
      found.set(`${name}@${version}`, Buffer.from(digest, "base64").toString("hex"));
  }
  return found;
}

const uuidOf = (hex: string): string =>
  `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
