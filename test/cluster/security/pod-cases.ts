import { describe, expect, it } from "vitest";
import { NAMESPACES } from "../../../kube/namespace-scope.ts";
import { procEntry } from "../../proc-entry.ts";
import { podProcesses } from "../pod-processes.ts";
import { expectRestricted, Volumes } from "./expect-restricted.ts";
import { own, RESTRICTED, type Tenant } from "./tenant.ts";

/** What pods are, as the cluster sees them and from inside. */
export function podCases(tenant: () => Tenant): void {
  describe("3. pods", () => {
    it("those of functions and builders are restricted, and live in a namespace that takes no others", async () => {
      const pods = await tenant().podsIn(tenant().namespace);
      expect(pods.length).toBeGreaterThan(1);
      for (const pod of pods) expectRestricted(pod);
    });

    it("so are those of the platform", async () => {
      const { metadata } = await tenant().kube.get(NAMESPACES, { name: tenant().home });
      expect(metadata.labels).toMatchObject(RESTRICTED);
      for (const pod of await tenant().podsIn(tenant().home)) expectRestricted(pod);
    });

    it("the log collector alone sees files of the node: its pods' logs, read-only, without a token", async () => {
      const pods = await tenant().podsIn(`${tenant().home}-logs`);
      expect(pods.length).toBeGreaterThan(0);
      for (const pod of pods) {
        expectRestricted(pod);
        expect(pod.spec.automountServiceAccountToken).toBe(false);
        const paths = Volumes.parse(pod.spec["volumes"]).map(({ hostPath }) => hostPath);
        expect(paths.filter((path) => path !== undefined)).toEqual([{ path: "/var/log/pods", type: "" }]);
      }
    });

    it.runIf(own)("every process runs without capabilities, under seccomp, not as root", async () => {
      const pods = [
        ...(await tenant().podsIn(tenant().home)),
        ...(await tenant().podsIn(tenant().namespace)),
      ];
      const processes = () =>
        pods
          .flatMap(({ metadata }) => podProcesses(metadata.uid ?? "none"))
          .map((pid) => procEntry(pid, "status"))
          .filter((status) => status !== "");
      expect(processes().length).toBeGreaterThanOrEqual(pods.length);
      const isBound = (status: string) =>
        /^CapEff:\t0+$/m.test(status) &&
        /^NoNewPrivs:\t1$/m.test(status) &&
        /^Seccomp:\t2$/m.test(status) &&
        !/^Uid:\t0\t/m.test(status);
      // The container runtime's own, which starts a process in a container, gives its rights up while it does.
      await expect.poll(() => processes().filter((status) => !isBound(status))).toEqual([]);
    });

    it.runIf(own)("a function cannot write outside its own folders, nor become more", async () => {
      const code = `
import os
def fails(work):
    try:
        work()
        return 0
    except OSError as error:
        return error.errno
result = [
    os.getuid() > 0,
    fails(lambda: open("/escape", "w")) in (13, 30),
    fails(lambda: open("/usr/bin/escape", "w")) in (13, 30),
    fails(lambda: os.setuid(0)) == 1,
    fails(lambda: os.chroot("/tmp")) == 1,
    fails(lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))) == 1,
]
`;
      expect(await tenant().python(code)).toBe("[True, True, True, True, True, True]");
    });
  });
}
