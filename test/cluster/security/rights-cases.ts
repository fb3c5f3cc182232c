import { describe, expect, it } from "vitest";
import { z } from "zod";
import { FETCHER_PORT } from "../../../api/names.ts";
import { POD_ENV } from "../../../api/wire/pod.ts";
import { own, type Tenant } from "./tenant.ts";

/** What accounts may do, and that pods of functions have none. */
export function rightsCases(tenant: () => Tenant): void {
  describe("1. rights", () => {
    const Roles = z.looseObject({
      items: z.array(
        z.looseObject({
          metadata: z.looseObject({ name: z.string() }),
          rules: z.array(z.record(z.string(), z.array(z.string()))).nullish(),
        }),
      ),
    });
    it.each(["clusterroles", "roles"])("no wildcard in %s of the platform", async (plural) => {
      const found = Roles.parse(
        await tenant().kube.request({
          method: "GET",
          path: `/apis/rbac.authorization.k8s.io/v1/${plural}`,
          query: { labelSelector: "app.kubernetes.io/part-of=isotope" },
        }),
      );
      expect(found.items.length).toBeGreaterThan(0);
      const wild = found.items.filter(({ rules }) =>
        rules?.some((rule) => Object.values(rule).some((words) => words.includes("*"))),
      );
      expect(wild.map(({ metadata }) => metadata.name)).toEqual([]);
    });

    it("each component has an account of its own", async () => {
      const accounts = new Map<string, Set<string>>();
      for (const { metadata, spec } of await tenant().podsIn(tenant().home)) {
        const component = metadata.labels?.["app.kubernetes.io/component"] ?? metadata.name;
        const users = accounts.get(spec.serviceAccountName ?? "default") ?? new Set();
        accounts.set(spec.serviceAccountName ?? "default", users.add(component));
      }
      expect([...accounts.keys()]).not.toContain("default");
      expect([...accounts.values()].filter((components) => components.size > 1)).toEqual([]);
    });

    it("pods of functions and builders have no token, and their account may do nothing", async () => {
      const pods = await tenant().podsIn(tenant().namespace);
      expect(pods.map(({ metadata }) => metadata.labels?.["app.kubernetes.io/component"])).toContain(
        "builder",
      );
      for (const { spec } of pods) {
        expect(spec.automountServiceAccountToken).toBe(false);
        expect(spec.enableServiceLinks).toBe(false);
        expect(JSON.stringify(spec)).not.toContain("serviceAccountToken");
      }
      const asked = [
        "get secrets",
        "list pods",
        "create pods",
        "get functions.fission.io",
        "list namespaces",
      ];
      expect(await allowedOf(asked)).toEqual([]);
    });

    /** What of `verb resource[.group]` the account of function pods may do in their namespace. */
    async function allowedOf(asked: readonly string[]): Promise<string[]> {
      const allowed: string[] = [];
      const { namespace } = tenant();
      for (const what of asked) {
        const [verb = "", path = ""] = what.split(" ");
        const [resource = "", ...group] = path.split(".");
        const spec = {
          user: `system:serviceaccount:${namespace}:default`,
          groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
          resourceAttributes: { verb, resource, group: group.join("."), namespace },
        };
        const reply = await tenant().kube.request({
          method: "POST",
          path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
          body: { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec },
        });
        const { status } = z.object({ status: z.object({ allowed: z.boolean() }) }).parse(reply);
        if (status.allowed) allowed.push(what);
      }
      return allowed;
    }

    it.runIf(own)(
      "a function finds no token in its pod, and the fetcher beside it takes no orders",
      async () => {
        const { spec } = await tenant().podOf("snoop");
        const token = spec.containers
          .flatMap(({ env = [] }) => env)
          .find(({ name }) => name === POD_ENV.token)?.value;
        expect(token).toMatch(/^.{16,}$/);
        // The kubelet tells every pod where the API server is. That is no credential, and the way there is closed (network-cases.ts).
        const code = `
import glob, os, re, urllib.error, urllib.request
def status(path):
    try:
        call = urllib.request.Request("http://127.0.0.1:${FETCHER_PORT}" + path, b"{}", {"Authorization": "Bearer guess"})
        return urllib.request.urlopen(call, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code
tokens = [path for path in glob.glob("/run/secrets/**", recursive=True) + glob.glob("/var/run/secrets/**", recursive=True) if os.path.isfile(path)]
address = re.compile("KUBERNETES_(SERVICE|PORT)(_|$)")
credential = re.compile(r"TOKEN|PASSWORD|CREDENTIAL|API_?KEY|PRIVATE|KUBE", re.I)
named = [name for name in os.environ if credential.search(name) and not address.match(name)]
named += [name for name, value in os.environ.items() if "${token}" in value or re.search(r"eyJ[\\w-]+\\.[\\w-]+\\.", value)]
result = [tokens, named, status("/v2/specialize"), status("/_isotope/retire"), status("/fetch"), status("/upload")]
`;
        expect(await tenant().python(code)).toMatch(/^\[\[\], \[\], (4\d\d, ){3}4\d\d\]$/);
      },
    );
  });
}
