import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import type { PodLogOptions } from "../logs/pod-logs.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { makePodLogs } from "./pod-logs.ts";

const home = mkdtempSync(join(tmpdir(), "pod-logs-"));
afterAll(() => rmSync(home, { recursive: true }));

let dir: string;
let over: boolean;
let runs = 0;
beforeEach(() => {
  dir = join(home, String(runs++));
  mkdirSync(join(dir, "main"), { recursive: true });
  over = true;
});

const file = (attempt: number): string => join(dir, "main", `${attempt}.log`);
const line = (second: number, text: string, tag = "F"): string =>
  `2026-01-01T00:00:${String(second).padStart(2, "0")}.000000000Z stdout ${tag} ${text}\n`;

const running = (restartCount = 0, lastState = {}): object => ({
  name: "main",
  state: { running: { startedAt: "2026-01-01T00:00:00Z" } },
  lastState,
  ready: true,
  started: true,
  restartCount,
  image: "a",
  imageID: "a",
  containerID: `localkube://u/main/${restartCount}`,
});

function pod(...containerStatuses: object[]): KubeObject {
  const metadata = { name: "p", namespace: "d", uid: "u", resourceVersion: "1", creationTimestamp: "" };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata,
    spec: {},
    status: JSON.parse(JSON.stringify({ containerStatuses })),
  };
}

const logs = makePodLogs({ logDir: () => dir, isOver: () => over });

async function read(
  of: KubeObject,
  options: Partial<PodLogOptions> = {},
  signal = new AbortController().signal,
): Promise<string> {
  const all = { container: "main", follow: false, previous: false, timestamps: false, ...options };
  let text = "";
  for await (const chunk of await logs.open(of, all, signal)) text += Buffer.from(chunk).toString("utf8");
  return text;
}

describe("logs of a pod", () => {
  const three = line(1, "one") + line(2, "tw", "P") + line(3, "o") + line(4, "three");

  it.each<[Partial<PodLogOptions>, string]>([
    [{}, "one\ntwo\nthree\n"],
    [{ tailLines: 2 }, "two\nthree\n"],
    [{ tailLines: 0 }, ""],
    [
      { timestamps: true, tailLines: 2 },
      "2026-01-01T00:00:02.000000000Z two\n2026-01-01T00:00:04.000000000Z three\n",
    ],
    [{ sinceTime: "2026-01-01T00:00:02Z" }, "two\nthree\n"],
    [{ sinceTime: "2026-01-01T01:00:03+01:00" }, "three\n"],
    [{ sinceTime: "2026-01-01T00:00:04.000000001Z" }, ""],
    [{ sinceSeconds: 60 }, ""],
    [{ limitBytes: 5 }, "one\nt"],
  ])("with %j", async (options, text) => {
    writeFileSync(file(0), three);
    expect(await read(pod(running()), options)).toBe(text);
  });

  it("joins the file before a turn-over with the present one", async () => {
    writeFileSync(`${file(0)}.1`, line(1, "one"));
    writeFileSync(file(0), line(2, "two"));
    expect(await read(pod(running()))).toBe("one\ntwo\n");
    expect(await read(pod(running()), { tailLines: 1 })).toBe("two\n");
  });

  it("reads the run before with previous", async () => {
    writeFileSync(file(0), line(1, "first run"));
    writeFileSync(file(1), line(2, "second run"));
    const before = { terminated: { containerID: "localkube://u/main/0" } };
    expect(await read(pod(running(1, before)), { previous: true })).toBe("first run\n");
    expect(await read(pod(running(1, before)))).toBe("second run\n");
    await expect(read(pod(running()), { previous: true })).rejects.toThrow(
      'previous terminated container "main" in pod "p" not found',
    );
  });

  it("shows the last run while the next one waits", async () => {
    writeFileSync(file(0), line(1, "crashed"));
    const status = {
      ...running(0, { terminated: { containerID: "localkube://u/main/0" } }),
      state: { waiting: { reason: "CrashLoopBackOff" } },
    };
    expect(await read(pod(status))).toBe("crashed\n");
  });

  it.each([
    ["ErrImagePull", "is waiting to start: trying and failing to pull image"],
    ["ContainerCreating", "is waiting to start: ContainerCreating"],
  ])("says that the container waits: %s", async (reason, message) => {
    const status = { ...running(), state: { waiting: { reason } }, containerID: undefined };
    await expect(read(pod(status))).rejects.toMatchObject({
      code: 400,
      message: expect.stringContaining(message),
    });
  });

  it("refuses a time it cannot read", async () => {
    writeFileSync(file(0), three);
    await expect(read(pod(running()), { sinceTime: "yesterday" })).rejects.toMatchObject({ code: 400 });
  });

  it("follows over a turn-over until the container ends", async () => {
    over = false;
    writeFileSync(file(0), line(1, "one"));
    const reading = read(pod(running()), { follow: true });
    await new Promise((resolve) => setTimeout(resolve, 50));
    appendFileSync(file(0), line(2, "two"));
    appendFileSync(file(0), line(3, "thr", "P"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    appendFileSync(file(0), line(3, "ee"));
    renameSync(file(0), `${file(0)}.1`);
    writeFileSync(file(0), line(4, "four"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    appendFileSync(file(0), line(5, "five"));
    over = true;
    expect(await reading).toBe("one\ntwo\nthree\nfour\nfive\n");
  });

  it("stops following when the reader leaves", async () => {
    over = false;
    writeFileSync(file(0), line(1, "one"));
    const leave = new AbortController();
    const options = { container: "main", follow: true, previous: false, timestamps: false };
    let text = "";
    for await (const chunk of await logs.open(pod(running()), options, leave.signal)) {
      text += Buffer.from(chunk).toString("utf8");
      // While it waits for more.
      setTimeout(() => leave.abort(), 300);
    }
    expect(text).toBe("one\n");
  });
});
