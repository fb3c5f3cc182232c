import { expect } from "vitest";
import { z } from "zod";
import type { Container, Pod } from "../../../kube/core.ts";

/** Everything that Pod Security "restricted" asks for, a read-only root, and limits. */
export function expectRestricted({ metadata, spec }: Pod): void {
  const of = metadata.name;
  for (const field of ["hostNetwork", "hostPID", "hostIPC"]) expect(spec[field] ?? false, of).toBe(false);
  const pod = Context.parse(spec["securityContext"]);
  expect(pod.runAsNonRoot, of).toBe(true);
  expect(pod.runAsUser ?? 1, of).toBeGreaterThan(0);
  expect(pod.seccompProfile?.type, of).toBe("RuntimeDefault");
  const inits = z.array(z.looseObject({ name: z.string(), image: z.string() })).optional();
  const containers: Container[] = [...spec.containers, ...(inits.parse(spec["initContainers"]) ?? [])];
  for (const container of containers) {
    const context = Context.parse(container["securityContext"]);
    expect(context, `${of}/${container.name}`).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(context.capabilities?.add ?? []).toEqual([]);
    expect(context.privileged ?? false).toBe(false);
    expect(context.runAsUser ?? 1).toBeGreaterThan(0);
    expect(container.resources?.limits, `${of}/${container.name}`).toHaveProperty("memory");
    expect(container.resources?.requests, `${of}/${container.name}`).toHaveProperty("cpu");
  }
  for (const volume of Volumes.parse(spec["volumes"] ?? []))
    if (volume.emptyDir) expect(volume.emptyDir, `${of}: ${volume.name}`).toHaveProperty("sizeLimit");
}
const Context = z.looseObject({
  runAsNonRoot: z.boolean().optional(),
  runAsUser: z.number().optional(),
  privileged: z.boolean().optional(),
  capabilities: z.looseObject({ add: z.array(z.string()).optional() }).optional(),
  seccompProfile: z.looseObject({ type: z.string() }).optional(),
});
export const Volumes = z.array(
  z.looseObject({
    name: z.string(),
    emptyDir: z.looseObject({}).optional(),
    hostPath: z.unknown().optional(),
  }),
);
