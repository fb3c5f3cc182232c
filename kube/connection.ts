import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { Agent, type Dispatcher, ProxyAgent } from "undici";
import { parse as parseYaml } from "yaml";

/** What is needed to call one API server. */
export interface KubeConnection {
  /** Origin and optional path prefix, without a slash at the end. */
  readonly server: string;
  /** Namespace of the kubeconfig's context; "default" when it names none. */
  readonly namespace: string;
  /** One keep-alive pool for every call and watch of the process: a connection per call would cost a TLS handshake each. */
  readonly dispatcher: Dispatcher;
  /** The value of the Authorization header, or nothing (client certificates, anonymous). */
  readonly authorization: () => Promise<string | undefined>;
}

interface TlsSettings {
  ca?: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
  servername?: string;
  rejectUnauthorized?: boolean;
}

interface NamedEntry {
  name?: string;
  cluster?: ClusterEntry;
  user?: UserEntry;
  context?: { cluster?: string; user?: string; namespace?: string };
}
interface ClusterEntry {
  server?: string;
  "certificate-authority"?: string;
  "certificate-authority-data"?: string;
  "insecure-skip-tls-verify"?: boolean;
  "tls-server-name"?: string;
  "proxy-url"?: string;
}
interface UserEntry {
  token?: string;
  tokenFile?: string;
  username?: string;
  password?: string;
  "client-certificate"?: string;
  "client-certificate-data"?: string;
  "client-key"?: string;
  "client-key-data"?: string;
  exec?: unknown;
  "auth-provider"?: unknown;
}
interface KubeconfigFile {
  "current-context"?: string;
  clusters?: NamedEntry[];
  users?: NamedEntry[];
  contexts?: NamedEntry[];
}

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Projected tokens are rotated; the reference client reads them again after a minute too. */
const TOKEN_REREAD_MS = 60_000;

/**
 * Finds the API server: `kubeconfig` if given, else `$KUBECONFIG`, else the pod's service account, else `~/.kube/config`.
 * `context` overrides the file's current context. Throws an error that names the file and field when there is none or it is incomplete.
 */
export async function loadKubeConnection(
  options: { kubeconfig?: string | undefined; context?: string | undefined; env?: NodeJS.ProcessEnv } = {},
): Promise<KubeConnection> {
  const env = options.env ?? process.env;
  const fromEnv = env["KUBECONFIG"]?.split(delimiter).filter((path) => path !== "");
  const files = options.kubeconfig ? [options.kubeconfig] : (fromEnv ?? []);
  if (files.length === 0 && env["KUBERNETES_SERVICE_HOST"] && existsSync(`${SERVICE_ACCOUNT}/token`)) {
    return inClusterConnection(env);
  }
  if (files.length === 0) files.push(join(homedir(), ".kube", "config"));
  const present = files.filter((file) => existsSync(file));
  if (present.length === 0) {
    throw new Error(
      `Cannot find a kubeconfig: "${files.join('", "')}" does not exist; set KUBECONFIG or give --kubeconfig`,
    );
  }
  return connectionOfFiles(present, options.context);
}

function inClusterConnection(env: NodeJS.ProcessEnv): KubeConnection {
  const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  const namespaceFile = `${SERVICE_ACCOUNT}/namespace`;
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    namespace: existsSync(namespaceFile) ? readFileSync(namespaceFile, "utf8").trim() : "default",
    dispatcher: createDispatcher({ ca: readFileSync(`${SERVICE_ACCOUNT}/ca.crt`) }),
    authorization: tokenFromFile(`${SERVICE_ACCOUNT}/token`),
  };
}

/** Merged as kubectl does: the first file that names a cluster, user or context wins. */
async function connectionOfFiles(files: string[], contextName: string | undefined): Promise<KubeConnection> {
  const parsed = files.map((file) => ({ file, config: readKubeconfig(file) }));
  const wanted = contextName ?? parsed.find((p) => p.config["current-context"])?.config["current-context"];
  const where = `"${files.join('", "')}"`;
  if (!wanted) throw new Error(`Cannot use kubeconfig ${where}: it has no current-context`);
  const context = find(parsed, "contexts", wanted)?.entry.context;
  if (!context) throw new Error(`Cannot use kubeconfig ${where}: it has no context "${wanted}"`);
  const cluster = find(parsed, "clusters", context.cluster ?? "");
  if (!cluster?.entry.cluster?.server) {
    throw new Error(`Cannot use kubeconfig ${where}: context "${wanted}" names no cluster with a server`);
  }
  const user = find(parsed, "users", context.user ?? "");
  const server = cluster.entry.cluster.server.replace(/\/+$/, "");
  const namespace = context.namespace || "default";
  const tls = clusterTls(cluster.entry.cluster, dirname(cluster.file));
  const account = user?.entry.user ?? {};
  const proxy = cluster.entry.cluster["proxy-url"];
  if (account.exec || account["auth-provider"]) {
    return { server, namespace, ...(await pluginAccess(files, wanted, tls, proxy)) };
  }
  const folder = dirname(user?.file ?? files[0] ?? ".");
  const cert = fileOrData(account["client-certificate"], account["client-certificate-data"], folder);
  const key = fileOrData(account["client-key"], account["client-key-data"], folder);
  return {
    server,
    namespace,
    dispatcher: createDispatcher({ ...tls, ...(cert ? { cert } : {}), ...(key ? { key } : {}) }, proxy),
    authorization: staticAuthorization(account, folder),
  };
}

function readKubeconfig(file: string): KubeconfigFile {
  const value: unknown = parseYaml(readFileSync(file, "utf8"));
  if (typeof value !== "object" || value === null) {
    throw new Error(`Cannot use kubeconfig "${file}": it must be a YAML object`);
  }
  return value;
}

function find(
  parsed: { file: string; config: KubeconfigFile }[],
  list: "clusters" | "users" | "contexts",
  name: string,
): { file: string; entry: NamedEntry } | undefined {
  for (const { file, config } of parsed) {
    const entry = config[list]?.find((candidate) => candidate.name === name);
    if (entry) return { file, entry };
  }
  return undefined;
}

function clusterTls(cluster: ClusterEntry, folder: string): TlsSettings {
  const ca = fileOrData(cluster["certificate-authority"], cluster["certificate-authority-data"], folder);
  return {
    ...(ca ? { ca } : {}),
    ...(cluster["tls-server-name"] ? { servername: cluster["tls-server-name"] } : {}),
    ...(cluster["insecure-skip-tls-verify"] ? { rejectUnauthorized: false } : {}),
  };
}

function fileOrData(file: string | undefined, data: string | undefined, folder: string): Buffer | undefined {
  if (data) return Buffer.from(data, "base64");
  if (file) return readFileSync(isAbsolute(file) ? file : join(folder, file));
  return undefined;
}

function staticAuthorization(account: UserEntry, folder: string): () => Promise<string | undefined> {
  if (account.tokenFile) {
    return tokenFromFile(isAbsolute(account.tokenFile) ? account.tokenFile : join(folder, account.tokenFile));
  }
  const value = account.token
    ? `Bearer ${account.token}`
    : account.username
      ? `Basic ${Buffer.from(`${account.username}:${account.password ?? ""}`).toString("base64")}`
      : undefined;
  return () => Promise.resolve(value);
}

function tokenFromFile(path: string): () => Promise<string> {
  let token = "";
  let readAt = -Infinity;
  let mtimeMs = 0;
  return () => {
    const now = performance.now();
    if (now - readAt > TOKEN_REREAD_MS) {
      const changed = statSync(path).mtimeMs;
      if (changed !== mtimeMs) token = readFileSync(path, "utf8").trim();
      mtimeMs = changed;
      readAt = now;
    }
    return Promise.resolve(`Bearer ${token}`);
  };
}

/**
 * Credential plugins (exec, OIDC, cloud providers) are left to the Kubernetes client library. It is loaded here only, because
 * it costs some 80 MB of memory that no process needs for a token or a certificate.
 */
async function pluginAccess(
  files: string[],
  context: string,
  tls: TlsSettings,
  proxy: string | undefined,
): Promise<Pick<KubeConnection, "dispatcher" | "authorization">> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  config.loadFromFile(files[0] ?? "");
  for (const file of files.slice(1)) {
    const more = new KubeConfig();
    more.loadFromFile(file);
    config.mergeConfig(more, true);
  }
  config.setCurrentContext(context);
  const first: import("node:https").RequestOptions = {};
  await config.applyToHTTPSOptions(first);
  const cert = typeof first.cert === "string" || Buffer.isBuffer(first.cert) ? first.cert : undefined;
  const key = typeof first.key === "string" || Buffer.isBuffer(first.key) ? first.key : undefined;
  return {
    dispatcher: createDispatcher({ ...tls, ...(cert ? { cert } : {}), ...(key ? { key } : {}) }, proxy),
    authorization: async () => {
      const options: import("node:https").RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      const value = Object.entries(options.headers ?? {}).find(([name]) => name === "Authorization")?.[1];
      return typeof value === "string" ? value : undefined;
    },
  };
}

function createDispatcher(tls: TlsSettings, proxy?: string): Dispatcher {
  const shared = {
    allowH2: false,
    keepAliveTimeout: 30_000,
    headersTimeout: 60_000,
    bodyTimeout: 0,
    pipelining: 1,
  };
  if (proxy) return new ProxyAgent({ ...shared, uri: proxy, requestTls: { ...tls, allowH2: false } });
  return new Agent({
    ...shared,
    connect: { ...tls, timeout: 5_000, keepAlive: true, keepAliveInitialDelay: 15_000 },
  });
}
