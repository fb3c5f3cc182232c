import { randomBytes, timingSafeEqual, webcrypto } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";

/** What the server proves itself with, and what clients must know. */
export interface ServerIdentity {
  caCertificate: string;
  serverKey: string;
  serverCertificate: string;
  token: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const YEAR_MS = 365 * 24 * 3600 * 1000;
const CLOCK_SLACK_MS = 3600 * 1000;

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString("base64")
    .replaceAll(/(.{64})(?!$)/g, "$1\n")}\n-----END ${label}-----\n`;

const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

async function makeCertificates(host: string): Promise<Omit<ServerIdentity, "token">> {
  // Needed once in the life of a data directory; loaded only then, for it is large.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto);
  const caKeys = await newKeys();
  const notBefore = new Date(Date.now() - CLOCK_SLACK_MS);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomBytes(8).toString("hex"),
    name: "CN=localkube-ca",
    notBefore,
    notAfter: new Date(Date.now() + 10 * YEAR_MS),
    signingAlgorithm: ALGORITHM,
    keys: caKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const keys = await newKeys();
  const addresses = new Set(["127.0.0.1", "::1", ...(isIP(host) ? [host] : [])]);
  const names = new Set([
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    ...(isIP(host) ? [] : [host]),
  ]);
  const server = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString("hex"),
    subject: "CN=localkube",
    issuer: ca.subject,
    notBefore,
    notAfter: new Date(Date.now() + 10 * YEAR_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...[...addresses].map((value) => ({ type: "ip" as const, value })),
        ...[...names].map((value) => ({ type: "dns" as const, value })),
      ]),
    ],
  });
  return {
    caCertificate: ca.toString("pem"),
    serverKey: pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)),
    serverCertificate: server.toString("pem"),
  };
}

/** Writes so that a reader sees the old or the new content, never a part; only the owner may read it. */
export function writePrivately(file: string, content: string): void {
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, file);
}

/** The identity kept in a directory; made on first use, or when it was made for another host. */
export async function loadIdentity(directory: string, host: string): Promise<ServerIdentity> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, "identity.json");
  if (existsSync(file)) {
    const kept: ServerIdentity & { host: string } = JSON.parse(readFileSync(file, "utf8"));
    if (kept.host === host) return kept;
  }
  const identity = { ...(await makeCertificates(host)), token: randomBytes(32).toString("base64url") };
  writePrivately(file, JSON.stringify({ ...identity, host }));
  return identity;
}

/** Compares in a time that tells nothing about the token but its length, which is no secret. */
export function tokenCheck(token: string): (candidate: string) => boolean {
  const expected = Buffer.from(token);
  return (candidate) => {
    const given = Buffer.from(candidate);
    return given.length === expected.length && timingSafeEqual(given, expected);
  };
}

/** A kubeconfig for the administrator. */
export function kubeconfigText(identity: ServerIdentity, url: string): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "localkube",
    clusters: [
      {
        name: "localkube",
        cluster: {
          server: url,
          "certificate-authority-data": Buffer.from(identity.caCertificate).toString("base64"),
        },
      },
    ],
    users: [{ name: "localkube-admin", user: { token: identity.token } }],
    contexts: [
      { name: "localkube", context: { cluster: "localkube", user: "localkube-admin", namespace: "default" } },
    ],
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
