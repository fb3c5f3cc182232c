import { readdirSync } from "node:fs";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { RunView } from "../../../api/wire/workflows.ts";
import { deploy } from "../../e2e/project.ts";
import { procEntry } from "../../proc-entry.ts";
import { podProcesses } from "../pod-processes.ts";
import { own, type Tenant, WAIT } from "./tenant.ts";

/** A workflow whose definition does what its input says, beside one that does no harm. */
const ATTACKS = `
import { assign, setup } from "xstate";
import { defineWorkflow } from "@isotope/platform/workflows";
const said = (attempt: () => unknown): string => {
  try { return JSON.stringify(attempt()) ?? "undefined"; } catch (error) { return (error as Error).name; }
};
const attacks: Record<string, () => Record<string, string>> = {
  look: () => {
    const world = globalThis as any;
    const escape = (code: string) => (() => 1).constructor("return " + code)();
    return {
      globals: said(() => ["Deno", "process", "require", "module", "Worker", "XMLHttpRequest", "WebSocket"].filter((name) => world[name] !== undefined)),
      token: said(() => world.Deno.readTextFileSync("/var/run/secrets/kubernetes.io/serviceaccount/token")),
      environment: said(() => escape("Deno.env.toObject()")),
      network: said(() => world.fetch("http://127.0.0.1:8080/metrics")),
      files: said(() => escape("process.mainModule.require('fs').readdirSync('/')")),
      code: said(() => world.eval("1")),
    };
  },
  loop: () => { for (;;); },
  heap: () => { const all: unknown[] = []; for (;;) all.push(new Array(10_000).fill(all.length)); },
  buffers: () => { const all: unknown[] = []; for (;;) all.push(new Uint8Array(4_000_000).fill(1)); },
};
export default defineWorkflow({
  machine: setup({ types: { input: {} as { attack: string }, context: {} as { attack: string; got: Record<string, string> } } }).createMachine({
    id: "attacks",
    context: ({ input }) => ({ attack: input?.attack ?? "", got: {} }),
    initial: "attacking",
    states: {
      attacking: { entry: assign({ got: ({ context }) => attacks[context.attack]?.() ?? {} }), always: "done" },
      done: { type: "final" },
    },
    output: ({ context }) => context.got,
  }),
});
`;
const HARMLESS = `
import { setup } from "xstate";
import { defineWorkflow } from "@isotope/platform/workflows";
export default defineWorkflow({
  machine: setup({}).createMachine({
    id: "harmless", context: {}, initial: "waiting",
    states: { waiting: { after: { 200: "done" } }, done: { type: "final" } },
    output: () => "well",
  }),
});
`;

/** What the code of workflows' definitions can do on a cluster: decide about its own runs, and nothing else. */
export function definitionCases(tenant: () => Tenant): void {
  describe("6. definitions of workflows", () => {
    beforeAll(async () => {
      await deploy(tenant().platform, {
        "../workflows/attacks.ts": ATTACKS,
        "../workflows/harmless.ts": HARMLESS,
      });
    }, 120_000);

    const ended = async (workflow: string, input: unknown): Promise<RunView> => {
      const { platform, namespace } = tenant();
      const { id } = await vi.waitFor(async () => {
        const { status, text } = await platform.ops("/v1/runs", { namespace, workflow, input });
        expect(status, text).toBe(201);
        return RunView.parse(JSON.parse(text));
      }, WAIT);
      return vi.waitFor(async () => {
        const { text } = await platform.ops(`/v1/runs/${namespace}/${id}/wait?timeoutMs=10000`);
        const run = RunView.parse(JSON.parse(text));
        expect(run.status).not.toBe("running");
        return run;
      }, WAIT);
    };

    it("their code finds no runtime, file, variable or network", async () => {
      const { output } = await ended("attacks", { attack: "look" });
      expect(output).toEqual({
        globals: "[]",
        token: "TypeError",
        environment: "EvalError",
        network: "TypeError",
        files: "EvalError",
        code: "EvalError",
      });
    });

    it.each([
      ["loop", /^definition_timeout$/],
      // On a busy machine the time may be over before the memory is.
      ["heap", /^definition_(memory|timeout)$/],
      ["buffers", /^definition_(memory|timeout)$/],
    ])("%s fails that run alone", async (attack, type) => {
      const [harmed, ...others] = await Promise.all([
        ended("attacks", { attack }),
        ...Array.from({ length: 4 }, () => ended("harmless", null)),
      ]);
      expect(harmed).toMatchObject({ status: "failed", error: { type: expect.stringMatching(type) } });
      for (const other of others) expect(other).toMatchObject({ status: "succeeded", output: "well" });
    });

    it("no container of theirs ended for that", async () => {
      const pods = await tenant().podsIn(tenant().home, "app.kubernetes.io/component=workflows");
      expect(pods.length).toBeGreaterThan(0);
      for (const { metadata, status } of pods)
        expect(Containers.parse(status).initContainerStatuses, metadata.name).toMatchObject([
          { name: "definition-host", restartCount: 0 },
        ]);
    });

    /** What runs in the pods of the workflow service, and of it what runs definitions. */
    const lookAround = async () => {
      const pods = await tenant().podsIn(tenant().home, "app.kubernetes.io/component=workflows");
      const processes = pods.flatMap(({ metadata }) =>
        podProcesses(metadata.uid ?? "none").map((pid) => ({ pid, command: commandOf(pid) })),
      );
      const looked = processes
        .filter(({ command }) => /definition-host|deno/.test(command))
        .map(({ pid, command }) => ({
          command,
          environment: procEntry(pid, "environ"),
          mounts: procEntry(pid, "mountinfo"),
          var: entriesOf(`/proc/${pid}/root/var`),
        }))
        // What went while it was looked at holds nothing.
        .filter(({ environment, mounts, var: entries }) => environment && mounts && entries.length > 0);
      return { pods, processes, looked };
    };

    it.runIf(own)("their container holds no token, no key, no secret and no address", async () => {
      // A launcher each, and a host that ran what ended a moment ago: hosts come and go, so that one may be missed.
      const { pods, processes, looked } = await vi.waitFor(async () => {
        await ended("harmless", null);
        const found = await lookAround();
        expect(found.looked.length).toBeGreaterThan(found.pods.length);
        return found;
      }, WAIT);
      expect(processes.filter(({ command }) => command.startsWith("isotope-workflows"))).toHaveLength(
        pods.length,
      );
      for (const { command, environment, mounts, var: entries } of looked) {
        expect(environment, command).not.toMatch(/redis:|REDIS|SIGNING|KEY_FILE|TOKEN/i);
        if (command.includes("deno"))
          expect(
            environment
              .split("\0")
              .filter(Boolean)
              .map((line) => line.split("=")[0]),
          ).toEqual(["DENO_DIR", "DENO_NO_UPDATE_CHECK", "NO_COLOR"]);
        expect(mounts, command).not.toMatch(/serviceaccount|signing-key|kubernetes\.io~secret|~projected/);
        expect(mounts).toMatch(/ \/ \/ ro[, ]/);
        expect(entries).not.toContain("secrets");
      }
    });
  });
}

const Containers = z.looseObject({
  initContainerStatuses: z.array(z.looseObject({ name: z.string(), restartCount: z.number() })),
});
const entriesOf = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    // Of a process that ended since.
    return [];
  }
};
const commandOf = (pid: number): string => procEntry(pid, "cmdline").replaceAll("\0", " ");
