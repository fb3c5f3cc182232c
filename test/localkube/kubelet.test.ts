import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { processStartMark } from "../../localkube/kubelet/shim/process-identity.ts";
import { isReady, type Node, openNode, serverContainer, until } from "./open-node.ts";

let node: Node;
beforeAll(async () => {
  node = await openNode();
});
afterAll(() => node.close());

const sh = (script: string, more: object = {}) => ({ name: "main", image: "sh", args: [script], ...more });
const status = (name: string) => node.pod(name)?.status;
const container = (name: string) => status(name)?.containerStatuses?.[0];
const ready = (name: string) => until(() => isReady(node.pod(name)));
/** Its output comes by way of another process, which may be behind. */
const says = (name: string, text: string) =>
  until(async () => (await node.log(name).catch(() => "")) === text);
/** Why a container does not start, once that is known. */
const refusal = (name: string) =>
  until(() => {
    const waiting = container(name)?.state.waiting;
    return waiting?.reason !== "ContainerCreating" && waiting;
  });
const phase = (name: string, wanted: string) => until(() => status(name)?.phase === wanted);

describe("a pod", () => {
  it("runs with an address of its own and a nearly empty environment", async () => {
    await node.createPod("plain", { containers: [serverContainer({ env: [{ name: "A", value: "1" }] })] });
    await ready("plain");
    const { env, cwd } = JSON.parse(await (await node.ask("plain")).text());
    const dir = join(node.home, "pods", node.pod("plain")?.metadata.uid ?? "");
    expect(Object.keys(env).sort()).toEqual(["A", "HOME", "PATH", "TABLE", "TMPDIR"]);
    expect(env.HOME.startsWith(dir) && env.TMPDIR.startsWith(dir)).toBe(true);
    expect([env.TABLE, cwd.replace(/\/$/, "")]).toEqual([join(dir, "root"), join(dir, "root")]);
    await says("plain", "listening\n");
  });

  it("has a full status", async () => {
    await node.createPod("status", {
      containers: [serverContainer({ resources: { limits: { memory: "512Mi", cpu: "1" } } })],
    });
    await ready("status");
    expect(node.pod("status")?.spec.nodeName).toBe("local");
    const now = status("status");
    expect(now).toMatchObject({ phase: "Running", hostIP: "127.0.0.1", qosClass: "Guaranteed" });
    expect(now?.podIP).toMatch(/^127\./);
    expect(now?.conditions?.map(({ type, status: value }) => `${type}=${value}`).sort()).toEqual([
      "ContainersReady=True",
      "Initialized=True",
      "PodScheduled=True",
      "Ready=True",
    ]);
    expect(container("status")).toMatchObject({
      ready: true,
      started: true,
      restartCount: 0,
      image: "server:1",
    });
    expect(container("status")?.state.running?.startedAt).toMatch(/^\d{4}-.*Z$/);
    const reasons = await until(() => {
      const seen = node.events("status").map((text) => text.split(":")[0]);
      return ["Scheduled", "Pulled", "Started"].every((reason) => seen.includes(reason)) && seen;
    });
    expect(reasons).toEqual(expect.arrayContaining(["Scheduled", "Pulled", "Started"]));
  });

  it("gets its address again only after the whole range had its turn", async () => {
    const addresses = new Set<string | undefined>();
    for (const name of ["turn-1", "turn-2", "turn-3"]) {
      await node.createPod(name, { containers: [{ name: "main", image: "fixed" }] });
      await ready(name);
      addresses.add(status(name)?.podIP);
      await node.store.delete("pods", "default", name, { gracePeriodSeconds: 0 });
    }
    expect(addresses.size).toBe(3);
  });

  it("takes twenty at once", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `many-${index}`);
    await Promise.all(
      names.map((name) => node.createPod(name, { containers: [{ name: "main", image: "fixed" }] })),
    );
    await Promise.all(names.map(ready));
    expect(new Set(names.map((name) => status(name)?.podIP)).size).toBe(20);
    await Promise.all(names.map((name) => node.store.delete("pods", "default", name)));
    await until(() => names.every((name) => !node.pod(name)));
  });
});

describe("ending", () => {
  it("is reported with exit code and reason, by restartPolicy Never", async () => {
    await node.createPod("good", { restartPolicy: "Never", containers: [sh("echo fine")] });
    await node.createPod("bad", { restartPolicy: "Never", containers: [sh("exit 3")] });
    await phase("good", "Succeeded");
    await phase("bad", "Failed");
    expect(container("good")?.state.terminated).toMatchObject({ exitCode: 0, reason: "Completed" });
    expect(container("bad")?.state.terminated).toMatchObject({ exitCode: 3, reason: "Error" });
    expect(container("bad")?.restartCount).toBe(0);
  });

  it("leads to restarts with growing waits", async () => {
    await node.createPod("loop", { containers: [sh("echo run; exit 1")] });
    await until(() => (container("loop")?.restartCount ?? 0) >= 3);
    const { state, lastState } = await until(() => {
      const now = container("loop");
      return now?.state.waiting && now;
    });
    expect(state.waiting).toMatchObject({ reason: "CrashLoopBackOff" });
    expect(lastState.terminated).toMatchObject({ exitCode: 1, reason: "Error" });
    expect(status("loop")?.phase).toBe("Running");
    await until(() => node.events("loop").some((text) => text.startsWith("BackOff")));
    await node.store.delete("pods", "default", "loop");
  });

  it("with OnFailure repeats only what failed", async () => {
    const script = "test -f $HOME/again && exit 0; touch $HOME/again; exit 1";
    await node.createPod("retry", { restartPolicy: "OnFailure", containers: [sh(script)] });
    await phase("retry", "Succeeded");
    expect(container("retry")?.restartCount).toBe(1);
  });

  it("by a signal is told as such", async () => {
    await node.createPod("signalled", { restartPolicy: "Never", containers: [sh("kill -SEGV $$$$")] });
    await phase("signalled", "Failed");
    expect(container("signalled")?.state.terminated).toMatchObject({
      exitCode: 139,
      signal: 11,
      reason: "Error",
    });
  });

  it("is forced on a container over its memory limit", async () => {
    await node.createPod("hungry", {
      restartPolicy: "Never",
      containers: [serverContainer({ resources: { limits: { memory: "150Mi" } } })],
    });
    await ready("hungry");
    await node.ask("hungry", "/eat");
    await phase("hungry", "Failed");
    expect(container("hungry")?.state.terminated).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
    await until(() => node.events("hungry").some((text) => text.startsWith("OOMKilled")));
  });

  it("is forced on a pod past its activeDeadlineSeconds", async () => {
    await node.createPod("late", {
      activeDeadlineSeconds: 1,
      containers: [{ name: "main", image: "fixed" }],
    });
    await phase("late", "Failed");
    expect(status("late")?.reason).toBe("DeadlineExceeded");
  });

  it("can say why from its log", async () => {
    const failing = sh("echo reading; echo no such table >&2; exit 1", {
      terminationMessagePolicy: "FallbackToLogsOnError",
    });
    await node.createPod("words", { restartPolicy: "Never", containers: [failing] });
    await phase("words", "Failed");
    expect(container("words")?.state.terminated?.message).toContain("no such table");
  });
});

describe("deletion", () => {
  it("sends SIGTERM, waits, and removes the object when the process is gone", async () => {
    await node.createPod("graceful", {
      containers: [serverContainer({ env: [{ name: "LINGER", value: "2000" }] })],
    });
    await ready("graceful");
    const { pid } = JSON.parse(await (await node.ask("graceful")).text());
    const pod = node.pod("graceful");
    await node.store.delete("pods", "default", "graceful");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(node.pod("graceful")?.metadata.deletionTimestamp).toBeDefined();
    expect(processStartMark(pid)).toBeDefined();
    await until(() => !node.pod("graceful"));
    expect(processStartMark(pid)).toBeUndefined();
    await until(() => !existsSync(join(node.home, "pods", pod?.metadata.uid ?? "")));
    const logs = readdirSync(join(node.home, "logs", "pods")).find((name) =>
      name.startsWith("default_graceful_"),
    );
    expect(readFileSync(join(node.home, "logs", "pods", logs ?? "", "main", "0.log"), "utf8")).toContain(
      "got SIGTERM",
    );
  });

  it("kills what does not end in time", async () => {
    const deaf = sh("trap '' TERM; echo deaf; while :; do sleep 0.1; done");
    await node.createPod("deaf", { terminationGracePeriodSeconds: 1, containers: [deaf] });
    await ready("deaf");
    await says("deaf", "deaf\n");
    const startMs = Date.now();
    await node.store.delete("pods", "default", "deaf");
    await until(() => !node.pod("deaf"));
    expect(Date.now() - startMs).toBeGreaterThan(700);
  });

  it("with grace 0 kills at once, and a shorter grace counts while it waits", async () => {
    for (const name of ["force", "shorter"]) {
      await node.createPod(name, { containers: [sh("trap '' TERM; while :; do sleep 0.1; done")] });
      await ready(name);
    }
    const address = status("force")?.podIP;
    await node.store.delete("pods", "default", "force", { gracePeriodSeconds: 0 });
    expect(node.pod("force")).toBeUndefined();
    await node.store.delete("pods", "default", "shorter", { gracePeriodSeconds: 30 });
    await node.store.delete("pods", "default", "shorter", { gracePeriodSeconds: 1 });
    await until(() => !node.pod("shorter"));
    expect(address).toBeDefined();
  });

  it("runs preStop first", async () => {
    const lifecycle = { preStop: { exec: { command: ["/bin/sh", "-c", "echo stopping > $HOME/note"] } } };
    const script = "trap 'cat $HOME/note; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    await node.createPod("hooked", {
      terminationGracePeriodSeconds: 5,
      containers: [sh(script, { lifecycle })],
    });
    await ready("hooked");
    // Before its first word it may not hear the signal yet.
    await says("hooked", "up\n");
    const uid = node.pod("hooked")?.metadata.uid ?? "";
    await node.store.delete("pods", "default", "hooked");
    await until(() => !node.pod("hooked"));
    expect(
      readFileSync(join(node.home, "logs", "pods", `default_hooked_${uid}`, "main", "0.log"), "utf8"),
    ).toContain("stopping");
  });

  it("leaves the object to its finalizers, with the processes gone and the end in the status", async () => {
    await node.createPod(
      "held",
      { containers: [sh("trap 'exit 0' TERM; while :; do sleep 0.05; done")] },
      { finalizers: ["test/hold"] },
    );
    await ready("held");
    await node.store.delete("pods", "default", "held");
    await until(() => container("held")?.state.terminated);
    expect(node.pod("held")?.metadata.finalizers).toEqual(["test/hold"]);
    await node.store.patch("pods", "default", "held", { metadata: { finalizers: null } });
    await until(() => !node.pod("held"));
  });

  it("ends what a container started beside itself", async () => {
    await node.createPod("family", { containers: [sh("sleep 1000 & echo $!; wait")] });
    const pid = Number(
      await until(async () => (await node.log("family").catch(() => "")).trim() || undefined),
    );
    await node.store.delete("pods", "default", "family");
    await until(() => !node.pod("family"));
    // It is killed when the pod goes; the kernel may take a moment to be done with it.
    await until(() => processStartMark(pid) === undefined);
  });
});

describe("probes", () => {
  it("keep a pod unready until it listens, then ready, unready and ready again", async () => {
    await node.createPod("probed", {
      containers: [
        serverContainer({
          image: "slow-server:1",
          readinessProbe: {
            httpGet: { path: "/healthz", port: 8888 },
            periodSeconds: 1,
            failureThreshold: 1,
          },
        }),
      ],
    });
    await until(() => container("probed")?.state.running);
    expect(isReady(node.pod("probed"))).toBe(false);
    await ready("probed");
    const since = status("probed")?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime;
    await node.ask("probed", "/fail");
    await until(() => !isReady(node.pod("probed")));
    expect(container("probed")?.restartCount).toBe(0);
    await until(() =>
      node
        .events("probed")
        .some((text) => text.includes("Readiness probe failed: HTTP probe failed with statuscode: 503")),
    );
    await node.ask("probed", "/recover");
    await ready("probed");
    expect(status("probed")?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime).not.toBe(
      since,
    );
  });

  it("restart a container that does not live", async () => {
    const livenessProbe = {
      httpGet: { path: "/", port: 8888 },
      periodSeconds: 1,
      timeoutSeconds: 1,
      failureThreshold: 2,
    };
    await node.createPod("hanging", {
      terminationGracePeriodSeconds: 1,
      // On a busy machine the server may take longer to start than the liveness probe has patience.
      containers: [
        serverContainer({ livenessProbe, startupProbe: { ...livenessProbe, failureThreshold: 30 } }),
      ],
    });
    await ready("hanging");
    await node.ask("hanging", "/hang").catch(() => undefined);
    await until(() => container("hanging")?.restartCount === 1);
    await ready("hanging");
    expect(node.events("hanging").some((text) => text.includes("failed liveness probe"))).toBe(true);
  });

  it("hold readiness back until the startup probe succeeds, and run commands", async () => {
    const startupProbe = {
      exec: { command: ["/bin/sh", "-c", 'test -f "$HOME/up"'] },
      periodSeconds: 1,
      failureThreshold: 30,
    };
    await node.createPod("starting", {
      containers: [sh("sleep 2; touch $HOME/up; sleep 1000", { startupProbe })],
    });
    await until(() => container("starting")?.state.running);
    expect(container("starting")?.started).toBe(false);
    expect(isReady(node.pod("starting"))).toBe(false);
    await ready("starting");
    expect(container("starting")?.started).toBe(true);
  });
});

describe("what a container is given", () => {
  beforeAll(async () => {
    await node.store.create("secrets", {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "keys", namespace: "default" },
      data: { token: Buffer.from("s3cret").toString("base64") },
    });
    await node.store.create("configmaps", {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "settings", namespace: "default" },
      data: { mode: "fast" },
    });
  });

  it("comes from secrets, config maps and its own fields", async () => {
    await node.createPod("given", {
      restartPolicy: "Never",
      volumes: [
        { name: "keys", secret: { secretName: "keys" } },
        { name: "work", emptyDir: {} },
      ],
      containers: [
        sh(
          'echo "$TOKEN $mode $NAME $IP"; cat "$PWD/etc/keys/token"; echo; echo x > "$PWD/work/file"; ls "$PWD/work"',
          {
            env: [
              { name: "TOKEN", valueFrom: { secretKeyRef: { name: "keys", key: "token" } } },
              { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
              { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
            ],
            envFrom: [{ configMapRef: { name: "settings" } }],
            volumeMounts: [
              { name: "keys", mountPath: "/etc/keys" },
              { name: "work", mountPath: "/work" },
            ],
          },
        ),
      ],
    });
    await phase("given", "Succeeded");
    expect(await node.log("given")).toBe(`s3cret fast given ${status("given")?.podIP}\ns3cret\nfile\n`);
    const file = join(node.home, "pods", node.pod("given")?.metadata.uid ?? "", "volumes", "keys", "token");
    expect(statSync(file).mode & 0o777).toBe(0o400);
  });

  it("is waited for when it is missing, and taken as soon as it is there", async () => {
    const env = [{ name: "T", valueFrom: { secretKeyRef: { name: "later", key: "t" } } }];
    await node.createPod("waits", { restartPolicy: "Never", containers: [sh("echo got $T", { env })] });
    await node.createPod("mounts", {
      restartPolicy: "Never",
      volumes: [{ name: "v", secret: { secretName: "later" } }],
      containers: [sh("cat v/t", { volumeMounts: [{ name: "v", mountPath: "/v" }] })],
    });
    const waiting = await refusal("waits");
    expect(waiting).toMatchObject({
      reason: "CreateContainerConfigError",
      message: 'secret "later" not found',
    });
    await until(() => node.events("mounts").some((text) => text.startsWith("FailedMount")));
    await node.store.create("secrets", {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "later", namespace: "default" },
      data: { t: Buffer.from("it").toString("base64") },
    });
    await phase("waits", "Succeeded");
    await phase("mounts", "Succeeded");
    expect([await node.log("waits"), await node.log("mounts")]).toEqual(["got it\n", "it\n"]);
  });

  it("follows changes of what volumes show", async () => {
    await node.createPod("shows", {
      volumes: [{ name: "c", configMap: { name: "settings" } }],
      containers: [{ name: "main", image: "fixed", volumeMounts: [{ name: "c", mountPath: "/c" }] }],
    });
    await ready("shows");
    const file = join(node.home, "pods", node.pod("shows")?.metadata.uid ?? "", "root", "c", "mode");
    expect(readFileSync(file, "utf8")).toBe("fast");
    await node.store.patch("configmaps", "default", "settings", { data: { mode: "slow" } });
    await until(() => readFileSync(file, "utf8") === "slow");
  });

  it("is a command of its own where the image takes one", async () => {
    await node.createPod("args", {
      restartPolicy: "Never",
      containers: [{ name: "main", image: "tool", args: ["$(A)"], env: [{ name: "A", value: "b" }] }],
    });
    await node.createPod("command", {
      restartPolicy: "Never",
      containers: [{ name: "main", image: "tool", command: ["/bin/echo", "own"], args: ["x"] }],
    });
    await node.createPod("refused", { containers: [{ name: "main", image: "fixed", args: ["5"] }] });
    await phase("args", "Succeeded");
    await phase("command", "Succeeded");
    expect([await node.log("args"), await node.log("command")]).toEqual(["entry b\n", "own x\n"]);
    const waiting = await refusal("refused");
    expect(waiting).toMatchObject({
      reason: "CreateContainerError",
      message: expect.stringContaining('takes no command or args in local mode, got ["5"]'),
    });
  });

  it("is refused for an image nobody knows, saying which are known", async () => {
    await node.createPod("unknown", { containers: [{ name: "main", image: "docker.io/nginx:1.27" }] });
    const waiting = await refusal("unknown");
    expect(waiting.reason).toBe("ErrImagePull");
    expect(waiting.message).toContain('Cannot pull image "docker.io/nginx:1.27"');
    expect(waiting.message).toContain('"server:*"');
    await until(() => container("unknown")?.state.waiting?.reason === "ImagePullBackOff");
    expect(status("unknown")?.phase).toBe("Pending");
    await until(() => node.events("unknown").some((text) => text.startsWith("Failed: Cannot pull image")));
  });

  it("is reported when the program cannot be started", async () => {
    await node.createPod("broken", {
      restartPolicy: "Never",
      containers: [{ name: "main", image: "broken" }],
    });
    await phase("broken", "Failed");
    expect(container("broken")?.state.terminated).toMatchObject({
      exitCode: 128,
      reason: "StartError",
      message: 'Cannot start "/no/such/program": no such executable',
    });
  });
});

describe("init containers", () => {
  const init = (name: string, script: string, more: object = {}) => ({ ...sh(script, more), name });

  it("run one after the other, before the others, in the same volumes", async () => {
    const mount = { volumeMounts: [{ name: "w", mountPath: "/w" }] };
    await node.createPod("ordered", {
      restartPolicy: "Never",
      volumes: [{ name: "w", emptyDir: {} }],
      initContainers: [init("one", "sleep 0.1; echo 1 >> w/f", mount), init("two", "echo 2 >> w/f", mount)],
      containers: [sh("echo 3 >> w/f; cat w/f", mount)],
    });
    await phase("ordered", "Succeeded");
    expect(await node.log("ordered")).toBe("1\n2\n3\n");
    expect(
      status("ordered")?.initContainerStatuses?.map(({ ready, state }) => [ready, state.terminated?.reason]),
    ).toEqual([
      [true, "Completed"],
      [true, "Completed"],
    ]);
  });

  it("that fail end a pod that never restarts", async () => {
    await node.createPod("init-fails", {
      restartPolicy: "Never",
      initContainers: [init("one", "exit 2")],
      containers: [sh("echo no")],
    });
    await phase("init-fails", "Failed");
    expect(container("init-fails")?.state.waiting?.reason).toBe("PodInitializing");
  });

  it("may be sidecars, which end after the others", async () => {
    const mount = { volumeMounts: [{ name: "w", mountPath: "/w" }] };
    const sidecar = init("side", "trap 'exit 0' TERM; touch w/up; while :; do sleep 0.05; done", {
      restartPolicy: "Always",
      ...mount,
    });
    await node.createPod("sided", {
      restartPolicy: "Never",
      volumes: [{ name: "w", emptyDir: {} }],
      initContainers: [sidecar],
      // Not before the sidecar hears the signal.
      containers: [sh("while [ ! -f w/up ]; do sleep 0.05; done; echo done", mount)],
    });
    await phase("sided", "Succeeded");
    const ended = await until(() => status("sided")?.initContainerStatuses?.[0]?.state.terminated);
    expect(ended).toMatchObject({ exitCode: 0 });
  });
});

describe("other pods", () => {
  it("that nothing here may schedule wait, saying why", async () => {
    await node.createPod("elsewhere", {
      nodeSelector: { disk: "ssd" },
      containers: [{ name: "main", image: "fixed" }],
    });
    const condition = await until(() =>
      status("elsewhere")?.conditions?.find(({ type }) => type === "PodScheduled"),
    );
    expect(condition).toMatchObject({ status: "False", reason: "Unschedulable" });
    await node.createPod("other-node", { nodeName: "mars", containers: [{ name: "main", image: "fixed" }] });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(status("other-node")?.containerStatuses).toBeUndefined();
  });

  it("wait for the gates that they name", async () => {
    await node.createPod("gated", {
      readinessGates: [{ conditionType: "test/open" }],
      containers: [{ name: "main", image: "fixed" }],
    });
    const closed = await until(() =>
      status("gated")?.conditions?.find(({ reason }) => reason === "ReadinessGatesNotReady"),
    );
    expect(closed.type).toBe("Ready");
    const conditions = [...(status("gated")?.conditions ?? []), { type: "test/open", status: "True" }];
    await node.store.patch("pods", "default", "gated", { status: { conditions } }, { subresource: "status" });
    await ready("gated");
    expect(status("gated")?.conditions?.some(({ type }) => type === "test/open")).toBe(true);
  });

  it("keep what somebody else says about them at the very moment at which the kubelet speaks too", async () => {
    for (let round = 0; round < 10; round += 1) {
      const name = `spoken-${round}`;
      await node.createPod(name, {
        readinessGates: [{ conditionType: "test/open" }],
        containers: [{ name: "main", image: "fixed" }],
      });
      // The kubelet writes each step of the start; the gate is opened with the first sign of an address, in the midst of them.
      await until(() => status(name)?.podIP);
      const conditions = [...(status(name)?.conditions ?? []), { type: "test/open", status: "True" }];
      await node.store.patch("pods", "default", name, { status: { conditions } }, { subresource: "status" });
      await ready(name);
    }
  });
});
