import { describe, expect, it } from "vitest";
import type { CanaryConfig, CanaryPhase } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { findRelease } from "./find-release.ts";

const side = (name: string) => ({ name: `${name}-v1`, function: name, uid: "u", revision: "r" });
const canary = (name: string, functionName: string, phase?: CanaryPhase): CanaryConfig => ({
  apiVersion: "fission.io/v1",
  kind: "CanaryConfig",
  metadata: { name, namespace: "default" },
  spec: { trigger: functionName, newfunction: `${functionName}-v2`, oldfunction: `${functionName}-v1` },
  ...(phase ? { status: { phase, new: side(functionName), old: side(functionName) } } : {}),
});

async function found(canaries: readonly CanaryConfig[], name?: string): Promise<string> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the far side: only this call is made
  const kube = {
    list: async () => ({ items: canaries, resourceVersion: "1", continue: "" }),
  } as unknown as KubeClient;
  return (await findRelease(kube, { namespace: "default", name })).metadata.name;
}

describe("the release that is meant", () => {
  it("is the one of that name, before one of a function of that name", async () => {
    const both = [canary("a", "b", "failed"), canary("b", "c", "failed")];
    expect(await found(both, "b")).toBe("b");
    expect(await found(both, "c")).toBe("b");
  });

  it("is the only one that runs when none is named, also before it has a status", async () => {
    expect(await found([canary("a", "a", "failed"), canary("b", "b")])).toBe("b");
    expect(await found([canary("a", "a", "succeeded")])).toBe("a");
  });

  it("is asked for when there are several, or none", async () => {
    await expect(found([canary("a", "a", "paused"), canary("b", "b", "holding")])).rejects.toThrow(
      'name one of "a", "b"',
    );
    await expect(found([canary("a", "a")], "x")).rejects.toThrow('there are "a"');
    await expect(found([])).rejects.toThrow("isotope deploy --canary");
  });
});
