import { randomBytes } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { LABEL_ENVIRONMENT } from "../../../api/names.ts";
import { PODS } from "../../../kube/core.ts";
import { KubeError } from "../../../kube/kube-error.ts";
import { ENVIRONMENTS, FUNCTIONS, PACKAGES } from "../../../kube/kinds.ts";
import { expectRestricted } from "./expect-restricted.ts";
import { POOLED, type Tenant, WAIT } from "./tenant.ts";

const OTHER = "kube-system";
const IMAGE = "isotope.local/nothing:1";
const container = (securityContext: object) => ({ containers: [{ name: "c", securityContext }] });
const volume = (source: object) => ({ volumes: [{ name: "v", ...source }] });

/** Pod fields that lead to the node or to others' rights. */
const ESCAPES: readonly (readonly [string, object])[] = [
  ["the node's network", { hostNetwork: true }],
  ["the node's processes", { hostPID: true }],
  ["the node's memory", { hostIPC: true }],
  ["the node's files", volume({ hostPath: { path: "/" } })],
  ["another account", { serviceAccountName: "isotope-controller" }],
  ["a token", { automountServiceAccountToken: true }],
  ["a projected token", volume({ projected: { sources: [{ serviceAccountToken: { path: "t" } }] } })],
  ["a privileged container", container({ privileged: true })],
  ["the root user", container({ runAsUser: 0 })],
  ["a capability", container({ capabilities: { add: ["SYS_TIME"] } })],
  ["more rights than its parent", container({ allowPrivilegeEscalation: true })],
  ["no seccomp", { securityContext: { seccompProfile: { type: "Unconfined" } } }],
];

/** What no object can ask for: refused at admission, or by the controllers where a schema cannot say it. */
export function admissionCases(tenant: () => Tenant): void {
  const fresh = (prefix: string) => `${prefix}-${randomBytes(4).toString("hex")}`;
  const ready = async (type: typeof FUNCTIONS | typeof PACKAGES, name: string) =>
    vi.waitFor(async () => {
      const { namespace, kube } = tenant();
      const { status } =
        type === FUNCTIONS
          ? await kube.get(FUNCTIONS, { namespace, name })
          : await kube.get(PACKAGES, { namespace, name });
      const condition = status?.conditions?.find((one) => one.type === "Ready");
      if (!condition || condition.status === "Unknown") throw new Error(`"${name}" was not looked at yet`);
      return condition;
    }, WAIT);
  /** Makes an object; resolves to its name, or to the status with which it was refused. */
  const attempt = (plural: string, kind: string, name: string, spec: object): Promise<string | number> =>
    tenant()
      .make(plural, kind, name, spec)
      .catch((error: unknown) => {
        if (error instanceof KubeError) return error.status;
        throw error;
      });
  const functionSpec = () => ({
    InvokeStrategy: POOLED,
    environment: { namespace: tenant().namespace, name: "deno" },
    package: { packageref: { namespace: tenant().namespace, name: "probe" } },
  });

  describe("2. references of objects", () => {
    it.each([
      ["Environment", { environment: { namespace: OTHER, name: "deno" } }],
      ["Package", { package: { packageref: { namespace: OTHER, name: "probe" } } }],
      ["Secret", { secrets: [{ namespace: OTHER, name: "app" }] }],
      ["ConfigMap", { configmaps: [{ namespace: OTHER, name: "settings" }] }],
    ])("a function has no %s of another namespace", async (_kind, reference) => {
      const name = await tenant().make("functions", "Function", fresh("crossing"), {
        ...functionSpec(),
        ...reference,
      });
      const condition = await ready(FUNCTIONS, name);
      expect(condition.status).toBe("False");
      expect(condition.message).toContain(`is in namespace "${OTHER}"`);
      const { kube, namespace } = tenant();
      expect((await kube.get(FUNCTIONS, { namespace, name })).status?.serving).toBeUndefined();
    });

    it("a package is not built by an environment of another namespace", async () => {
      const literal = Buffer.from("export default 1").toString("base64");
      const name = await tenant().make("packages", "Package", fresh("crossing"), {
        environment: { namespace: OTHER, name: "deno" },
        source: { type: "literal", literal },
      });
      const condition = await ready(PACKAGES, name);
      expect(condition.status).toBe("False");
      expect(condition.message).toContain(OTHER);
    });

    it.each(["169.254.169.254", "10.96.0.1", "127.0.0.1", "[::1]", "[::ffff:10.96.0.1]"])(
      "no archive is fetched from %s",
      async (host) => {
        const name = await tenant().make("packages", "Package", fresh("inside"), {
          environment: { namespace: tenant().namespace, name: "deno" },
          deployment: {
            type: "url",
            url: `http://${host}/a.zip`,
            checksum: { type: "sha256", sum: "0".repeat(64) },
          },
        });
        const condition = await ready(PACKAGES, name);
        expect(condition.status).toBe("False");
        expect(condition.message).toMatch(/public|private|not allowed/);
      },
    );
  });

  describe("2. pod fields", () => {
    it.each(ESCAPES)("an environment asks in vain for %s", async (_what, podspec) => {
      const spec = { version: 3, runtime: { image: IMAGE, podspec }, poolsize: 1 };
      const name = await attempt("environments", "Environment", fresh("escape"), spec);
      if (typeof name === "number") {
        expect(name).toBe(422);
        return;
      }
      // What the schema lets pass is left out of the pods.
      const { kube, namespace } = tenant();
      const labelSelector = `${LABEL_ENVIRONMENT}=${name}`;
      const pod = await vi.waitFor(async () => {
        const [found] = (await kube.list(PODS, { namespace, labelSelector })).items;
        if (!found) throw new Error(`"${name}" has no pod`);
        return found;
      }, WAIT);
      expectRestricted(pod);
      expect(pod.spec.serviceAccountName ?? "default").toBe("default");
      await kube.delete(ENVIRONMENTS, { namespace, name });
    });

    it.each(ESCAPES)("a container function asks in vain for %s", async (_what, podspec) => {
      const name = await attempt("functions", "Function", fresh("escape"), {
        InvokeStrategy: { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "container" } },
        environment: { namespace: tenant().namespace },
        package: {},
        podspec: merged({ containers: [{ name: "c", image: IMAGE }] }, podspec),
      });
      if (typeof name === "number") expect(name).toBe(422);
      else expect((await ready(FUNCTIONS, name)).status).toBe("False");
    });
  });
}

/** A pod of one container, with what an escape adds to pod or container. */
function merged(pod: { containers: object[] }, escape: object): object {
  const asked: { containers?: object[] } = escape;
  const containers = [{ ...pod.containers[0], ...asked.containers?.[0] }];
  return { ...pod, ...escape, containers };
}
