import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { loadIdentity, type ServerIdentity } from "../../../localkube/http/identity.ts";
import { freePortBase } from "../../e2e/free-ports.ts";
import { selfSignedIdentity } from "../../self-signed-identity.ts";
import { type BrokerProcess, brokerFolder, brokerProcess } from "./broker-process.ts";
import { checkDigests } from "./check-digests.ts";
import { fetchOnce } from "./fetched-folder.ts";
import { missingPrograms } from "./programs.ts";

const VERSION = "4.1.0";
const run = promisify(execFile);

/** Why there is no Kafka on this machine, or undefined. */
export const kafkaObstacle = (): string | undefined =>
  missingPrograms({ java: "default-jre-headless", mvn: "maven" });

export interface KafkaBroker extends BrokerProcess {
  readonly address: string;
  /** Encrypted; certificates by an authority of its own. */
  readonly tls: string;
  /** Encrypted, for those who name themselves: by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. */
  readonly saslTls: string;
  /** Encrypted, for those who name themselves by the certificate below. */
  readonly mutualTls: string;
  /** In PEM. */
  readonly ca: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
  readonly username: string;
  readonly password: string;
}

const USERNAME = "alice";
const PASSWORD = "alice's secret";
const SMALL_HEAP = ["-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/** Apache Kafka as one process, without its own replication; its jars come by Maven, once per machine. */
export async function startKafka(): Promise<KafkaBroker> {
  const lib = await kafkaJars();
  const base = await freePortBase();
  const ports: Ports = {
    plain: base,
    tls: base + 1,
    saslTls: base + 2,
    mutualTls: base + 3,
    controller: base + 4,
  };
  const folder = brokerFolder("kafka");
  const identity = await loadIdentity(join(folder, "identity"), "127.0.0.1");
  const client = await selfSignedIdentity("isotope");
  const properties = join(folder, "server.properties");
  const trusted = [identity.caCertificate, client.certificate];
  writeFileSync(properties, settings(folder, ports, identity, trusted));
  const java = [...SMALL_HEAP, "-cp", `${lib}/*`];
  const id = randomUUID().replaceAll("-", "");
  const cluster = Buffer.from(id, "hex").toString("base64url");
  const users = ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((mechanism) => [
    "--add-scram",
    `${mechanism}=[name=${USERNAME},password="${PASSWORD}"]`,
  ]);
  await run("java", [
    ...java,
    "kafka.tools.StorageTool",
    "format",
    "-t",
    cluster,
    "-c",
    properties,
    ...users,
  ]);
  const broker = brokerProcess({
    name: "Kafka",
    folder,
    port: ports.plain,
    command: "java",
    args: [...java, "kafka.Kafka", properties],
  });
  await broker.start();
  return {
    ...broker,
    address: `127.0.0.1:${ports.plain}`,
    tls: `127.0.0.1:${ports.tls}`,
    saslTls: `127.0.0.1:${ports.saslTls}`,
    mutualTls: `127.0.0.1:${ports.mutualTls}`,
    ca: identity.caCertificate,
    clientCertificate: client.certificate,
    clientKey: client.key,
    username: USERNAME,
    password: PASSWORD,
  };
}

/** As the file of digests says, which names every jar. */
const kafkaJars = (): Promise<string> =>
  fetchOnce(`kafka-${VERSION}`, async (folder) => {
    const given = join(import.meta.dirname, "kafka");
    const goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${folder}`];
    await run("mvn", ["-q", "-B", "-C", "-f", join(given, "pom.xml"), ...goal]);
    checkDigests(folder, readFileSync(join(given, "sha256sums"), "utf8"));
  });

type Ports = Readonly<Record<"plain" | "tls" | "saslTls" | "mutualTls" | "controller", number>>;

function settings(
  folder: string,
  ports: Ports,
  identity: ServerIdentity,
  trusted: readonly string[],
): string {
  const clients = {
    PLAINTEXT: `PLAINTEXT://127.0.0.1:${ports.plain}`,
    SSL: `SSL://127.0.0.1:${ports.tls}`,
    SASL_SSL: `SASL_SSL://127.0.0.1:${ports.saslTls}`,
    MUTUAL: `MUTUAL://127.0.0.1:${ports.mutualTls}`,
  };
  const sasl = "listener.name.sasl_ssl";
  const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
  return Object.entries({
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": `1@127.0.0.1:${ports.controller}`,
    listeners: [...Object.values(clients), `CONTROLLER://127.0.0.1:${ports.controller}`].join(","),
    "advertised.listeners": Object.values(clients).join(","),
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map":
      "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,MUTUAL:SSL",
    "ssl.keystore.type": "PEM",
    "ssl.keystore.certificate.chain": onOneLine(identity.serverCertificate),
    "ssl.keystore.key": onOneLine(identity.serverKey),
    "ssl.truststore.type": "PEM",
    "ssl.truststore.certificates": onOneLine(trusted.map((pem) => pem.trim()).join("\n")),
    "listener.name.mutual.ssl.client.auth": "required",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    [`${sasl}.plain.sasl.jaas.config`]: `org.apache.kafka.common.security.plain.PlainLoginModule required user_${USERNAME}="${PASSWORD}";`,
    [`${sasl}.scram-sha-256.sasl.jaas.config`]: scram,
    [`${sasl}.scram-sha-512.sasl.jaas.config`]: scram,
    "log.dirs": join(folder, "data"),
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

const onOneLine = (pem: string): string => pem.trim().replaceAll("\n", "\\n");
