import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { findKubectl } from "./find-kubectl.ts";
import { type Localkube, startLocalkube } from "./start-localkube.ts";

const found = findKubectl();
const required = process.env["CI"] === "true";
if (!found.usable && !required) console.warn(`kubectl tests are skipped: ${found.reason}`);

let cluster: Localkube;
/** A test runs kubectl some twenty times beside others that do, and waits for more than one thing. */
vi.setConfig({ testTimeout: 400_000 });

async function until(what: () => boolean | Promise<boolean>, why: () => string, ms = 60_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!(await what())) {
    if (Date.now() > endMs) throw new Error(`not within ${ms} ms: ${why()}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** An object or list as kubectl gives it in JSON. */
interface Item {
  metadata: {
    name: string;
    uid: string;
    deletionTimestamp?: string;
    labels: object;
    annotations: Record<string, string>;
  };
  spec: Record<string, unknown> & {
    holderIdentity?: string;
    size?: number;
    ports: { name: string; port: number; targetPort: number }[];
    template: { spec: { containers: { image: string }[] } };
  };
  status: {
    podIP: string;
    containerStatuses: { lastState: { terminated: object } }[];
  };
  data: object;
  items: Item[];
  endpoints?: { conditions: { ready: boolean }; targetRef: { uid: string } }[];
}

const json = async (args: string[]): Promise<Item> => JSON.parse(await cluster.ok([...args, "-o", "json"]));

const yaml = (text: string): string => text.replace(/^\n/, "");

const pod = (name: string, image: string, more = ""): string =>
  yaml(`
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  labels: {app: ${name}}
spec:
  terminationGracePeriodSeconds: 2
${more}
  containers:
  - name: main
    image: ${image}
    ports: [{containerPort: 8888}]
`);

const WIDGET_CRD = yaml(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example}
spec:
  group: shop.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wg], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Phase, type: string, jsonPath: .status.phase, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing to sell
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: How big it is}
              color: {type: string, enum: [red, green]}
              tags: {type: array, items: {type: string}}
          status:
            type: object
            properties: {phase: {type: string}}
`);

const widget = (name: string, spec: string): string =>
  yaml(`
apiVersion: shop.example/v1
kind: Widget
metadata: {name: ${name}, labels: {kind: sample}}
spec: ${spec}
`);

describe.runIf(found.usable || required)("kubectl", () => {
  beforeAll(async () => {
    cluster = await startLocalkube();
    await cluster.ok(["apply", "-f", "-"], WIDGET_CRD);
    await cluster.ok(["wait", "--for", "condition=Established", "crd/widgets.shop.example", "--timeout=80s"]);
  });
  afterAll(() => cluster?.stop());

  describe("discovers", () => {
    it("api-versions and api-resources", async () => {
      const versions = (await cluster.ok(["api-versions"])).split("\n");
      expect(versions).toEqual(
        expect.arrayContaining(["v1", "apps/v1", "discovery.k8s.io/v1", "shop.example/v1"]),
      );
      const resources = await cluster.ok(["api-resources"]);
      expect(resources).toMatch(/^widgets +wg +shop\.example\/v1 +true +Widget$/m);
      expect(resources).toMatch(/^pods +po +v1 +true +Pod$/m);
      expect(resources).toMatch(/^deployments +deploy +apps\/v1 +true +Deployment$/m);
    });

    it("explain, of core kinds and of a custom one", async () => {
      expect(await cluster.ok(["explain", "pod.spec.containers.image"])).toMatch(/FIELD: +image <string>/);
      const custom = await cluster.ok(["explain", "widget.spec"]);
      expect(custom).toContain("How big it is");
      expect(custom).toMatch(/size\s+<integer> -required-/);
    });

    it("version and raw paths", async () => {
      expect(await cluster.ok(["version"])).toMatch(/Server Version: v1\.\d+/);
      expect(JSON.parse(await cluster.ok(["get", "--raw", "/api/v1/namespaces/default"]))).toMatchObject({
        kind: "Namespace",
      });
      expect((await cluster.ok(["get", "--raw", "/readyz"])).trim()).toBe("ok");
    });

    it("says what may be done", async () => {
      expect((await cluster.ok(["auth", "can-i", "create", "pods"])).trim()).toBe("yes");
    });

    it("shows the node", async () => {
      await until(
        async () => /^local +Ready /m.test(await cluster.ok(["get", "nodes"])),
        () => "the node is ready",
      );
      const wide = await cluster.ok(["get", "nodes", "-o", "wide"]);
      expect(wide).toContain("127.0.0.1");
      await until(
        async () =>
          (await cluster.kubectl(["get", "lease", "local", "-n", "kube-node-lease"])).exitCode === 0,
        () => "the node's lease",
      );
      const lease = await json(["get", "lease", "local", "-n", "kube-node-lease"]);
      expect(lease.spec.holderIdentity).toBe("local");
    });
  });

  describe("custom resources", () => {
    it("creates, gets in every format, and deletes", async () => {
      expect(await cluster.ok(["create", "-f", "-"], widget("one", "{size: 3, color: red}"))).toBe(
        "widget.shop.example/one created\n",
      );
      expect(await cluster.ok(["get", "wg"])).toMatch(/^NAME +SIZE\none +3\n$/);
      expect(await cluster.ok(["get", "wg", "-o", "wide"])).toMatch(/^NAME +SIZE +PHASE/);
      expect(await cluster.ok(["get", "widgets", "-o", "name"])).toBe("widget.shop.example/one\n");
      expect(await cluster.ok(["get", "widget", "one", "-o", "yaml"])).toContain("color: red");
      expect(await cluster.ok(["get", "widget", "one", "-o", "jsonpath={.spec.size}"])).toBe("3");
      expect(await cluster.ok(["get", "widgets", "-A"])).toMatch(/^NAMESPACE +NAME +SIZE\ndefault +one +3/);
      expect(await cluster.ok(["get", "widgets", "-l", "kind=sample", "-o", "name"])).toContain("/one");
      expect(await cluster.ok(["get", "widgets", "-l", "kind!=sample", "-o", "name"])).toBe("");
      expect(await cluster.ok(["describe", "widget", "one"])).toMatch(/Spec:\n +Color: +red\n +Size: +3/);
      expect(await cluster.ok(["delete", "widget", "one"])).toContain('"one" deleted');
      expect((await cluster.kubectl(["get", "widget", "one"])).stderr).toContain(
        'widgets.shop.example "one" not found',
      );
    });

    it("refuses what the schema does not allow, naming the field", async () => {
      const bad = await cluster.kubectl(["create", "-f", "-"], widget("bad", "{size: 0, color: blue}"));
      expect(bad.exitCode).not.toBe(0);
      expect(bad.stderr).toContain("spec.size");
      expect(bad.stderr).toContain("spec.color");
      const unknown = await cluster.kubectl(["create", "-f", "-"], widget("bad", "{size: 1, colour: red}"));
      expect(unknown.stderr).toContain('unknown field "spec.colour"');
      expect((await cluster.kubectl(["get", "widget", "bad"])).exitCode).not.toBe(0);
    });

    it("applies: creates, changes, removes a field, and says when nothing changed", async () => {
      expect(await cluster.ok(["apply", "-f", "-"], widget("two", "{size: 1, color: red}"))).toContain(
        "created",
      );
      expect(await cluster.ok(["apply", "-f", "-"], widget("two", "{size: 1, color: red}"))).toContain(
        "unchanged",
      );
      expect(await cluster.ok(["apply", "-f", "-"], widget("two", "{size: 2}"))).toContain("configured");
      expect((await json(["get", "widget", "two"])).spec).toEqual({ size: 2 });
      expect((await cluster.kubectl(["diff", "-f", "-"], widget("two", "{size: 5}"))).stdout).toContain(
        "+  size: 5",
      );
      expect(
        await cluster.ok(["apply", "--dry-run=server", "-f", "-"], widget("two", "{size: 9}")),
      ).toContain("server dry run");
      expect((await json(["get", "widget", "two"])).spec.size).toBe(2);
    });

    it("applies on the server, with owners of fields and their conflicts", async () => {
      const apply = (name: string, spec: string, more: string[] = []) =>
        cluster.kubectl(
          ["apply", "--server-side", "--field-manager", name, ...more, "-f", "-"],
          widget("three", spec),
        );
      expect((await apply("alice", "{size: 1, color: red}")).stdout).toContain("serverside-applied");
      const conflict = await apply("bob", "{size: 2}");
      expect(conflict.exitCode).not.toBe(0);
      expect(conflict.stderr).toMatch(/conflict.*alice/s);
      expect((await apply("bob", "{size: 2}", ["--force-conflicts"])).exitCode).toBe(0);
      expect((await apply("alice", "{size: 2}")).exitCode).toBe(0);
      expect((await json(["get", "widget", "three"])).spec).toEqual({ size: 2 });
    });

    it("patches, labels, annotates", async () => {
      await cluster.ok(["apply", "-f", "-"], widget("four", "{size: 1, tags: [a, b]}"));
      await cluster.ok(["patch", "widget", "four", "--type=merge", "-p", '{"spec":{"size":7}}']);
      await cluster.ok([
        "patch",
        "widget",
        "four",
        "--type=json",
        "-p",
        '[{"op":"replace","path":"/spec/tags/0","value":"z"}]',
      ]);
      expect((await json(["get", "widget", "four"])).spec).toEqual({ size: 7, tags: ["z", "b"] });
      const failed = await cluster.kubectl([
        "patch",
        "widget",
        "four",
        "--type=json",
        "-p",
        '[{"op":"test","path":"/spec/size","value":1}]',
      ]);
      expect(failed.exitCode).not.toBe(0);
      const strategic = await cluster.kubectl([
        "patch",
        "widget",
        "four",
        "--type=strategic",
        "-p",
        '{"spec":{"size":8}}',
      ]);
      expect(strategic.stderr).toMatch(/strategic|media type|415/i);
      await cluster.ok([
        "patch",
        "widget",
        "four",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"phase":"Sold"}}',
      ]);
      await cluster.ok(["label", "widget", "four", "shelf=top"]);
      expect((await cluster.kubectl(["label", "widget", "four", "shelf=low"])).stderr).toContain(
        "--overwrite",
      );
      await cluster.ok(["label", "widget", "four", "shelf=low", "--overwrite"]);
      await cluster.ok(["label", "widget", "four", "kind-"]);
      await cluster.ok(["annotate", "widget", "four", "note=hello there"]);
      const { metadata, status } = await json(["get", "widget", "four"]);
      expect(metadata.labels).toEqual({ shelf: "low" });
      expect(metadata.annotations.note).toBe("hello there");
      expect(status).toEqual({ phase: "Sold" });
    });

    it("waits for a jsonpath, a condition and a deletion", async () => {
      await cluster.ok(["apply", "-f", "-"], widget("five", "{size: 1}"));
      const waiting = cluster.ok([
        "wait",
        "widget/five",
        "--for=jsonpath={.status.phase}=Sold",
        "--timeout=80s",
      ]);
      await new Promise((resolve) => setTimeout(resolve, 200));
      await cluster.ok([
        "patch",
        "widget",
        "five",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"phase":"Sold"}}',
      ]);
      expect(await waiting).toContain("condition met");
      const going = cluster.spawn(["wait", "widget/five", "--for=delete", "--timeout=80s", "-v=6"]);
      // What is gone before it looks is no widget that it knows.
      await until(() => going.output().includes("/widgets?"), going.output);
      await cluster.ok(["delete", "widget", "five"]);
      // What it wrote last may be read after its end.
      await until(() => going.child.exitCode === 0 && going.output().includes("condition met"), going.output);
      const late = await cluster.kubectl([
        "wait",
        "widget/four",
        "--for=jsonpath={.status.phase}=Lost",
        "--timeout=1s",
      ]);
      expect(late.stderr).toContain("timed out");
    });

    it("waits on finalizers when deleting", async () => {
      const held = widget("held", "{size: 1}").replace(
        "name: held,",
        "name: held, finalizers: [shop.example/hold],",
      );
      await cluster.ok(["apply", "-f", "-"], held);
      await cluster.ok(["delete", "widget", "held", "--wait=false"]);
      expect((await json(["get", "widget", "held"])).metadata.deletionTimestamp).toBeDefined();
      const deleting = cluster.spawn(["delete", "widget", "held", "-v=6"]);
      await until(() => deleting.output().includes("DELETE"), deleting.output);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(deleting.child.exitCode).toBeNull();
      await cluster.ok(["patch", "widget", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}']);
      await until(() => deleting.child.exitCode === 0, deleting.output);
    });

    it("watches", async () => {
      const watch = cluster.spawn(["get", "widgets", "-w"]);
      await until(() => watch.output().includes("NAME"), watch.output);
      await cluster.ok(["apply", "-f", "-"], widget("seen", "{size: 41}"));
      await until(() => /seen +41/.test(watch.output()), watch.output);
      await cluster.ok(["patch", "widget", "seen", "--type=merge", "-p", '{"spec":{"size":42}}']);
      await until(() => /seen +42/.test(watch.output()), watch.output);
      watch.child.kill();
    });
  });

  describe("core kinds", () => {
    it("creates what kubectl sends as protobuf", async () => {
      await cluster.ok(["create", "namespace", "shop"]);
      await cluster.ok(["create", "secret", "generic", "keys", "--from-literal=token=abc", "-n", "shop"]);
      await cluster.ok(["create", "configmap", "settings", "--from-literal=mode=fast", "-n", "shop"]);
      const secret = await json(["get", "secret", "keys", "-n", "shop"]);
      expect(secret).toMatchObject({
        type: "Opaque",
        data: { token: Buffer.from("abc").toString("base64") },
      });
      expect((await json(["get", "configmap", "settings", "-n", "shop"])).data).toEqual({ mode: "fast" });
      expect(await cluster.ok(["get", "ns"])).toMatch(/^shop +Active /m);
      expect(await cluster.ok(["describe", "secret", "keys", "-n", "shop"])).toMatch(/token: +3 bytes/);
      const again = await cluster.kubectl(["create", "namespace", "shop"]);
      expect(again.stderr).toContain("AlreadyExists");
      await cluster.ok(["apply", "-n", "shop", "-f", "-"], pod("inside", "test/serve:1"));
      await cluster.ok(["wait", "-n", "shop", "pod/inside", "--for=condition=Ready", "--timeout=80s"]);
      await cluster.ok(["delete", "namespace", "shop", "--timeout=80s"]);
      expect((await cluster.kubectl(["get", "secret", "keys", "-n", "shop"])).stderr).toContain("not found");
    });

    it("merges lists by key with a strategic patch", async () => {
      const service = yaml(`
apiVersion: v1
kind: Service
metadata: {name: merged}
spec:
  selector: {app: nothing}
  ports: [{name: http, port: 80}, {name: admin, port: 81}]
`);
      await cluster.ok(["apply", "-f", "-"], service);
      await cluster.ok([
        "patch",
        "service",
        "merged",
        "-p",
        '{"spec":{"ports":[{"port":81,"targetPort":9000}]}}',
      ]);
      const { spec } = await json(["get", "service", "merged"]);
      expect(spec.ports.map((port) => [port.name, port.targetPort])).toEqual([
        ["http", 80],
        ["admin", 9000],
      ]);
      await cluster.ok(
        ["apply", "-f", "-"],
        service.replace("{name: admin, port: 81}", "{name: other, port: 82}"),
      );
      const applied = (await json(["get", "service", "merged"])).spec.ports;
      expect(applied.map((port) => [port.name, port.port])).toEqual([
        ["http", 80],
        ["other", 82],
      ]);
      await cluster.ok(["delete", "service", "merged"]);
    });
  });

  describe.concurrent("pods", () => {
    it("runs one, shows it, and gives its logs", async () => {
      await cluster.ok(["apply", "-f", "-"], pod("web", "test/serve:1"));
      await cluster.ok(["wait", "pod/web", "--for=condition=Ready", "--timeout=80s"]);
      expect(await cluster.ok(["get", "pods", "web"])).toMatch(
        /^NAME +READY +STATUS +RESTARTS +AGE\nweb +1\/1 +Running +0 /,
      );
      const wide = await cluster.ok(["get", "pod", "web", "-o", "wide"]);
      expect(wide).toMatch(/IP +NODE/);
      expect(wide).toContain(" local ");
      const { status } = await json(["get", "pod", "web"]);
      await until(
        async () => (await fetch(`http://${status.podIP}:8888/`).catch(() => undefined))?.status === 200,
        () => "the pod answers",
      );
      await until(
        async () => (await cluster.ok(["logs", "web"])) === "listening\n",
        () => "the log",
      );
      let described = "";
      // Events are recorded a moment after what they tell of.
      await until(
        async () => {
          described = await cluster.ok(["describe", "pod", "web"]);
          return ["Scheduled", "Pulled", "Started"].every((reason) => described.includes(reason));
        },
        () => described,
      );
      expect(described).toMatch(/State: +Running/);
      expect(await cluster.ok(["events", "--for", "pod/web"])).toContain("Started container main");
      expect(await cluster.ok(["get", "events", "--field-selector", "involvedObject.name=web"])).toContain(
        "Scheduled",
      );
      expect(
        await cluster.ok(["get", "pods", "--field-selector", "status.phase=Running", "-o", "name"]),
      ).toContain("pod/web");
      expect(await cluster.ok(["delete", "pod", "web"])).toContain("deleted");
      expect((await cluster.kubectl(["get", "pod", "web"])).stderr).toContain("not found");
    });

    it("follows, cuts and stamps logs", async () => {
      await cluster.ok(["apply", "-f", "-"], pod("talker", "test/talk:1"));
      await cluster.ok(["wait", "pod/talker", "--for=condition=Ready", "--timeout=80s"]);
      const follow = cluster.spawn(["logs", "-f", "talker"]);
      await until(() => follow.output().includes("line 8\n"), follow.output);
      expect(follow.output().startsWith("line 0\nline 1\n")).toBe(true);
      const tail = (await cluster.ok(["logs", "talker", "--tail=2"])).trim().split("\n");
      expect(tail).toHaveLength(2);
      const stamped = (await cluster.ok(["logs", "talker", "--timestamps", "--tail=1"])).trim();
      expect(stamped).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d+$/);
      const time = stamped.split(" ")[0] ?? "";
      const since = await cluster.ok(["logs", "talker", "--timestamps", `--since-time=${time}`]);
      expect(since).toContain(stamped);
      expect(since.slice(0, 19) >= time.slice(0, 19)).toBe(true);
      expect(await cluster.ok(["logs", "talker", "--since-time=2100-01-01T00:00:00Z"])).toBe("");
      expect((await cluster.ok(["logs", "talker", "--since=1h"])).startsWith("line 0\n")).toBe(true);
      expect(await cluster.ok(["logs", "talker", "--limit-bytes=6"])).toBe("line 0");
      expect(await cluster.ok(["logs", "-l", "app=talker", "--tail=1"])).toMatch(/^line \d+\n$/);
      expect((await cluster.kubectl(["logs", "talker", "--previous"])).stderr).toContain(
        "previous terminated container",
      );
      expect((await cluster.kubectl(["logs", "talker", "-c", "nope"])).stderr).toContain("nope");
      await cluster.ok(["delete", "pod", "talker"]);
      await until(
        () => follow.child.exitCode !== null && follow.output().includes("stopping"),
        follow.output,
      );
    });

    it("shows a crash loop and the log of the run before", async () => {
      await cluster.ok(["apply", "-f", "-"], pod("crash", "test/fail:1"));
      await until(
        async () => (await cluster.ok(["get", "pod", "crash"])).includes("CrashLoopBackOff"),
        () => "a crash loop",
      );
      expect(await cluster.ok(["logs", "crash", "--previous"])).toBe("about to fail\n");
      const { status } = await json(["get", "pod", "crash"]);
      expect(status.containerStatuses[0]?.lastState.terminated).toMatchObject({
        exitCode: 3,
        reason: "Error",
      });
      expect(await cluster.ok(["describe", "pod", "crash"])).toMatch(/Exit Code: +3/);
      await cluster.ok(["delete", "pod", "crash", "--force", "--grace-period=0"]);
    });

    it("says which images it knows", async () => {
      await cluster.ok(["apply", "-f", "-"], pod("stranger", "docker.io/nginx:1"));
      await until(
        async () => /ErrImagePull|ImagePullBackOff/.test(await cluster.ok(["get", "pod", "stranger"])),
        () => "ErrImagePull",
      );
      let described = "";
      // Events are recorded a moment after what they tell of.
      await until(
        async () => {
          described = await cluster.ok(["describe", "pod", "stranger"]);
          return described.includes('"test/serve:*"');
        },
        () => described,
      );
      expect((await cluster.kubectl(["logs", "stranger"])).stderr).toContain("waiting to start");
      await cluster.ok(["delete", "pod", "stranger"]);
    });

    it("runs with --restart=Never to its end", async () => {
      await cluster.ok([
        "run",
        "once",
        "--image=test/sh:1",
        "--restart=Never",
        "--command",
        "--",
        "sh",
        "-c",
        "echo done",
      ]);
      await cluster.ok(["wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=80s"]);
      expect(await cluster.ok(["get", "pod", "once"])).toContain("Completed");
      expect(await cluster.ok(["logs", "once"])).toBe("done\n");
      await cluster.ok(["delete", "pod", "once"]);
    });

    it("refuses exec, attach, port-forward and cp with a clear message", async () => {
      await cluster.ok(["apply", "-f", "-"], pod("shell", "test/talk:1"));
      await cluster.ok(["wait", "pod/shell", "--for=condition=Ready", "--timeout=80s"]);
      for (const args of [
        ["exec", "shell", "--", "ls"],
        ["attach", "shell"],
        ["port-forward", "shell", "0:8888"],
      ]) {
        const { exitCode, stderr } = await cluster.kubectl(args);
        expect(exitCode, args.join(" ")).not.toBe(0);
        expect(stderr, args.join(" ")).toMatch(/local|not support|not allow/i);
      }
      await cluster.ok(["delete", "pod", "shell"]);
    });
  });

  describe.concurrent("workloads", () => {
    it("creates, scales, restarts, rolls back and deletes a deployment", async () => {
      await cluster.ok([
        "create",
        "deployment",
        "site",
        "--image=test/serve:1",
        "--replicas=2",
        "--port=8888",
      ]);
      expect(await cluster.ok(["rollout", "status", "deployment/site", "--timeout=80s"])).toContain(
        "successfully rolled out",
      );
      expect(await cluster.ok(["get", "deployment", "site"])).toMatch(
        /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nsite +2\/2 +2 +2 /,
      );
      await cluster.ok(["scale", "deployment/site", "--replicas=3"]);
      await cluster.ok(["rollout", "status", "deployment/site", "--timeout=80s"]);
      expect(
        (await cluster.ok(["get", "pods", "-l", "app=site", "-o", "name"])).trim().split("\n"),
      ).toHaveLength(3);
      const before = (await json(["get", "pods", "-l", "app=site"])).items.map((one) => one.metadata.uid);
      await cluster.ok(["rollout", "restart", "deployment/site"]);
      await cluster.ok(["rollout", "status", "deployment/site", "--timeout=80s"]);
      await until(
        async () => {
          const { items } = await json(["get", "pods", "-l", "app=site"]);
          return items.length === 3 && items.every((one) => !before.includes(one.metadata.uid));
        },
        () => "three new pods",
      );
      await cluster.ok(["set", "image", "deployment/site", "serve=test/serve:2"]);
      await cluster.ok(["rollout", "status", "deployment/site", "--timeout=80s"]);
      expect(await cluster.ok(["rollout", "history", "deployment/site"])).toMatch(/^3 /m);
      await cluster.ok(["rollout", "undo", "deployment/site"]);
      await cluster.ok(["rollout", "status", "deployment/site", "--timeout=80s"]);
      expect((await json(["get", "deployment", "site"])).spec.template.spec.containers[0]?.image).toBe(
        "test/serve:1",
      );
      expect(await cluster.ok(["describe", "deployment", "site"])).toContain("ScalingReplicaSet");
      await cluster.ok(["delete", "deployment", "site"]);
      await until(
        async () => (await cluster.ok(["get", "pods,rs", "-l", "app=site", "-o", "name"])) === "",
        () => "pods and replica sets are gone",
      );
    });

    it("puts the ready pods of a service into its slices", async () => {
      await cluster.ok([
        "create",
        "deployment",
        "api",
        "--image=test/serve:1",
        "--replicas=2",
        "--port=8888",
      ]);
      await cluster.ok(["expose", "deployment", "api", "--port=80", "--target-port=8888"]);
      const ready = async (): Promise<string[]> => {
        const { items } = await json(["get", "endpointslices", "-l", "kubernetes.io/service-name=api"]);
        const endpoints = items.flatMap((slice) => slice.endpoints ?? []);
        return endpoints.filter((one) => one.conditions.ready).map((one) => one.targetRef.uid);
      };
      await until(
        async () => (await ready()).length === 2,
        () => "two ready endpoints",
      );
      const uids = (await json(["get", "pods", "-l", "app=api"])).items.map((one) => one.metadata.uid);
      expect((await ready()).sort()).toEqual(uids.sort());
      expect(await cluster.ok(["describe", "service", "api"])).toMatch(
        /Endpoints: +127\.\d+\.\d+\.\d+:8888,127\./,
      );
      await cluster.ok(["scale", "deployment/api", "--replicas=0"]);
      await until(
        async () => (await ready()).length === 0,
        () => "no endpoint",
      );
      await cluster.ok(["delete", "service,deployment", "api"]);
    });

    it("deletes with each way of cascading", async () => {
      const create = async (): Promise<void> => {
        await cluster.ok(["create", "deployment", "casc", "--image=test/talk:1"]);
        await cluster.ok(["rollout", "status", "deployment/casc", "--timeout=80s"]);
      };
      const left = async (): Promise<string> =>
        cluster.ok(["get", "rs,pods", "-l", "app=casc", "-o", "name"]);
      await create();
      await cluster.ok(["delete", "deployment", "casc", "--cascade=foreground"]);
      expect(await left()).toBe("");
      await create();
      await cluster.ok(["delete", "deployment", "casc", "--cascade=orphan"]);
      const orphans = await left();
      expect(orphans).toContain("replicaset.apps/casc-");
      expect(orphans).toContain("pod/casc-");
      await cluster.ok(["delete", "rs", "-l", "app=casc", "--cascade=background"]);
      await until(
        async () => (await left()) === "",
        () => "nothing is left",
      );
    });
  });
});
