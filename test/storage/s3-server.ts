import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, renameSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { openS3Bucket } from "../../engine/storage/s3-bucket.ts";
import type { ObjectBucket } from "../../engine/storage/object-bucket.ts";
import { freePortBase } from "../e2e/free-ports.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const NAME = "versitygw";

const BUILT = join(ROOT, ".cache", "bin", NAME);

/** versitygw (Apache-2.0): a real S3 server over a folder. Undefined when it is not there; runs with a cluster build it. */
export const S3_SERVER = findServer();

function findServer(): string | undefined {
  const given = process.env["ISOTOPE_S3_SERVER"];
  if (given !== undefined && given !== "") return given;
  if (existsSync(BUILT)) return BUILT;
  if (process.env["ISOTOPE_CLUSTER_TESTS"] !== "true") return undefined;
  const tool = `github.com/versity/versitygw/cmd/${NAME}`;
  // Another test process may look for it at the same moment: it is there when it is whole.
  const own = `${BUILT}.${process.pid}`;
  execFileSync("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", own, tool], {
    cwd: join(import.meta.dirname, "s3-server"),
    env: { ...process.env, CGO_ENABLED: "0" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  renameSync(own, BUILT);
  return BUILT;
}

export interface S3Server {
  readonly endpoint: string;
  /** Folder that holds the buckets' objects as files. */
  readonly folder: string;
  readonly credentialFiles: { id: string; secret: string };
  /** A bucket of its own. */
  newBucket(prefix?: string): Promise<ObjectBucket>;
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const ACCESS_KEY = "isotope-test";
const SECRET_KEY = "isotope-test-secret";

export async function startS3Server(): Promise<S3Server> {
  const root = await mkdtemp(join(tmpdir(), "isotope-s3-"));
  const folder = join(root, "data");
  await mkdir(folder);
  const credentialFiles = { id: join(root, "id"), secret: join(root, "secret") };
  await writeFile(credentialFiles.id, `${ACCESS_KEY}\n`);
  await writeFile(credentialFiles.secret, `${SECRET_KEY}\n`);
  // It comes back on its port: that is not one which others are given meanwhile.
  const port = await freePortBase();
  const endpoint = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  let buckets = 0;
  const opened: ObjectBucket[] = [];
  const start = async (): Promise<void> => {
    const args = ["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--port", `127.0.0.1:${port}`, "--quiet"];
    child = spawn(S3_SERVER ?? NAME, [...args, "posix", folder], { stdio: "ignore" });
    await until(() => fetch(endpoint).then(() => true));
  };
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child?.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  };
  await start();
  const admin = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
  });
  return {
    endpoint,
    folder,
    credentialFiles,
    newBucket: async (prefix = "") => {
      buckets += 1;
      const bucket = `archives-${buckets}`;
      await admin.send(new CreateBucketCommand({ Bucket: bucket }));
      const options = { bucket, region: "us-east-1", endpoint, pathStyle: true, prefix, credentialFiles };
      const one = await openS3Bucket(options);
      opened.push(one);
      return one;
    },
    kill,
    start,
    stop: async () => {
      for (const one of opened) one.close();
      admin.destroy();
      await kill();
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function until(ready: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    if (await ready().catch(() => false)) return;
    if (attempt > 1_200) throw new Error("The S3 server did not start within 60 s");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
