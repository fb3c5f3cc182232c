import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { type Layout, NETWORK, NODE_NAME } from "./layout.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const LIFETIME_MS = 365 * 24 * 3600 * 1000;
const CLOCK_SLACK_MS = 3600 * 1000;

interface Subject {
  /** File name without its ending. */
  readonly file: string;
  readonly name: string;
  readonly hosts?: readonly string[];
}

const SUBJECTS: readonly Subject[] = [
  {
    file: "apiserver",
    name: "CN=kube-apiserver",
    hosts: [
      NETWORK.node,
      NETWORK.apiService,
      "127.0.0.1",
      "kubernetes",
      "kubernetes.default",
      "kubernetes.default.svc",
      "kubernetes.default.svc.cluster.local",
    ],
  },
  { file: "admin", name: "O=system:masters,CN=admin" },
  { file: "kubelet", name: `O=system:nodes,CN=system:node:${NODE_NAME}`, hosts: [NETWORK.node, NODE_NAME] },
  { file: "front-proxy", name: "CN=front-proxy" },
];

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString("base64")
    .replaceAll(/(.{64})(?!$)/g, "$1\n")}\n-----END ${label}-----\n`;

const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
const privatePem = async (keys: webcrypto.CryptoKeyPair): Promise<string> =>
  pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));

const lifetime = () => ({
  serialNumber: randomBytes(8).toString("hex"),
  notBefore: new Date(Date.now() - CLOCK_SLACK_MS),
  notAfter: new Date(Date.now() + LIFETIME_MS),
  signingAlgorithm: ALGORITHM,
});

async function certificate(
  { name, hosts = [] }: Subject,
  keys: webcrypto.CryptoKeyPair,
  issuer: { name: string; key: webcrypto.CryptoKey },
): Promise<string> {
  const names = hosts.map((value) => ({ type: isIP(value) ? ("ip" as const) : ("dns" as const), value }));
  const made = await x509.X509CertificateGenerator.create({
    ...lifetime(),
    subject: name,
    issuer: issuer.name,
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    extensions: [
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return made.toString("pem");
}

function kubeconfig(ca: string, cert: string, key: string): string {
  const data = (text: string): string => Buffer.from(text).toString("base64");
  const name = "isotope-test";
  return `${JSON.stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [
        { name, cluster: { server: `https://${NETWORK.node}:6443`, "certificate-authority-data": data(ca) } },
      ],
      users: [{ name, user: { "client-certificate-data": data(cert), "client-key-data": data(key) } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
    },
    undefined,
    2,
  )}\n`;
}

/** Makes an authority, the components' certificates, the key of service-account tokens and two kubeconfigs (admin, kubelet). */
export async function makeCertificates({ pki, state }: Layout): Promise<void> {
  x509.cryptoProvider.set(webcrypto);
  mkdirSync(pki, { recursive: true, mode: 0o700 });
  const write = (file: string, text: string): void => writeFileSync(join(pki, file), text, { mode: 0o600 });
  const authority = await newKeys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...lifetime(),
    name: "CN=isotope-test-ca",
    keys: authority,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const caText = `${ca.toString("pem")}\n`;
  write("ca.crt", caText);
  const issuer = { name: ca.subject, key: authority.privateKey };
  for (const subject of SUBJECTS) {
    const keys = await newKeys();
    const [text, key] = [`${await certificate(subject, keys, issuer)}\n`, await privatePem(keys)];
    write(`${subject.file}.crt`, text);
    write(`${subject.file}.key`, key);
    if (subject.file === "admin" || subject.file === "kubelet")
      writeFileSync(join(state, `${subject.file}.kubeconfig`), kubeconfig(caText, text, key), {
        mode: 0o600,
      });
  }
  const tokens = await newKeys();
  write("sa.key", await privatePem(tokens));
  write("sa.pub", pem("PUBLIC KEY", await webcrypto.subtle.exportKey("spki", tokens.publicKey)));
}
