import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleWorkflow, DENO } from "../../test/workflows/workflow-bundle.ts";
import { doneEvent } from "../definition/definition.ts";
import { childHosts } from "./child-host.ts";
import { type DefinitionHost, definitionHost } from "./definition-host.ts";
import { hostedDefinition } from "./hosted-definition.ts";
import { workflowCode } from "./workflow-code.ts";

const folder = mkdtempSync(join(tmpdir(), "isotope-host-"));
let host: DefinitionHost;
/** Of a host that gives code more time: on a busy machine, filling the memory takes long. */
let patient: DefinitionHost;

beforeAll(() => {
  const start = childHosts({ deno: DENO, denoDir: folder });
  host = definitionHost({ start, memoryMb: 220 });
  patient = definitionHost({ start, memoryMb: 220, deadlineMs: 10_000 });
});
afterAll(() => {
  host.close();
  patient.close();
  rmSync(folder, { recursive: true, force: true });
});

const loaded = async (source: string, inHost = host) =>
  hostedDefinition(inHost, await workflowCode(await bundleWorkflow(source), "default"));

const ORDER = `
  import { assign, setup } from "xstate";
  import { defineWorkflow, fn } from "@isotope/platform/workflows";
  const machine = setup({
    types: { input: {} as { order: string }, context: {} as { order: string; receipt?: string } },
    actors: { charge: fn<string, { receipt: string }>("charge-card") },
  }).createMachine({
    id: "order",
    context: ({ input }) => ({ order: input.order }),
    initial: "charging",
    states: {
      charging: {
        invoke: { src: "charge", id: "charge", input: ({ context }) => context.order,
          onDone: { target: "done", actions: assign({ receipt: ({ event }) => { console.log("paid", event.output); return event.output.receipt; } }) } },
      },
      done: { type: "final" },
    },
    output: ({ context }) => context.receipt,
  });
  export default defineWorkflow({ machine });
`;

/** A definition of a single state, whose event ATTACK runs `code`. */
const attack = (code: string): string => `
  import { assign, setup } from "xstate";
  import { defineWorkflow } from "@isotope/platform/workflows";
  const machine = setup({}).createMachine({
    id: "attack", initial: "a", context: {},
    states: { a: { on: { ATTACK: { actions: assign(() => { ${code} }) }, END: "b" } }, b: { type: "final" } },
  });
  export default defineWorkflow({ machine });
`;

/** What came of the attack, and that another definition of the same host answers as ever. */
async function attacked(code: string, inHost = host): Promise<unknown> {
  const { definition } = await loaded(attack(code), inHost);
  const { snapshot } = await definition.start(null);
  const [outcome, order] = await Promise.all([
    definition.transition(snapshot, { type: "ATTACK" }).catch((error: unknown) => error),
    loaded(ORDER, inHost).then(({ definition: other }) => other.start({ order: "o" })),
  ]);
  expect(order.states).toEqual(["charging"]);
  expect(await definition.transition(snapshot, { type: "END" })).toMatchObject({ status: "done" });
  return outcome;
}

describe("a definition in its host", () => {
  it("runs by text alone, and what it writes to its console is logged", async () => {
    const { definition, problems } = await loaded(ORDER);
    expect(problems).toEqual([]);
    expect(definition.facts).toMatchObject({
      id: "order",
      actors: { charge: { kind: "function", name: "charge-card" } },
    });
    const started = await definition.start({ order: "o1" });
    expect(started.actions).toEqual([{ kind: "invoke", id: "charge", actor: "charge", input: "o1" }]);
    const done = await definition.transition(started.snapshot, doneEvent("charge", { receipt: "r1" }));
    expect(done).toMatchObject({ status: "done", output: "r1" });
    expect(done.actions).toContainEqual({
      kind: "log",
      label: "console.log",
      value: 'paid {"receipt":"r1"}',
    });
  });

  it("goes on after its host was killed", async () => {
    const { definition } = await loaded(ORDER);
    const { snapshot } = await definition.start({ order: "o1" });
    for (let round = 0; round < 3; round++) {
      const pid = host.pid;
      if (pid !== undefined) process.kill(pid, "SIGKILL");
      const done = await definition.transition(snapshot, doneEvent("charge", { receipt: "r1" }));
      expect(done.status).toBe("done");
    }
  });

  it.each([
    ["is loaded again when there was no processor for it", 100, "loaded, in 6000 ms"],
    ["is not loaded again when it had the processor", 2_900, "definition_timeout"],
  ])("%s", async (_name, cpuMs, expected) => {
    let loadedInMs = 0;
    let loads = 0;
    const starving = definitionHost({
      // The far side: a host whose first load takes too long.
      start: ({ onFrame }) => {
        setImmediate(() => onFrame({ id: 0, cpuMs: 0, value: "ready" }));
        return {
          pid: undefined,
          send: ({ id, method, timeoutMs }) => {
            const answer = () => {
              if (method !== "load")
                return loadedInMs > 0 ? { value: `loaded, in ${loadedInMs} ms` } : { missing: true };
              if (++loads === 1) return { cpuMs, timedOut: true };
              loadedInMs = timeoutMs;
              return { value: null };
            };
            setImmediate(() => onFrame({ id, cpuMs: 0, ...answer() }));
          },
          watch: () => undefined,
          residentMb: () => 0,
          kill: () => undefined,
        };
      },
    });
    const ask = () => starving.call({ digest: "d", code: "" }, "start", ["null"]);
    const told = (asked: ReturnType<typeof ask>) =>
      asked.then(
        ({ value }) => value,
        (error: { code: string }) => error.code,
      );
    expect(await Promise.all([told(ask()), told(ask())])).toEqual([expected, expected]);
    starving.close();
  });

  it("fails with what its code throws", async () => {
    await expect(attacked('throw new RangeError("no such order")')).resolves.toMatchObject({
      code: "definition_threw",
      message: "RangeError: no such order",
    });
  });

  it.each([
    [
      "imports a module of the runtime",
      'import { readFileSync } from "node:fs"; export default readFileSync;',
      /imports "node:fs"/,
    ],
    ["waits at its top", "await Promise.resolve(); export default 1;", /waits \(`await`\) at the top/],
  ])("refuses code that %s", async (_name, source, message) => {
    await expect(workflowCode(source, "default")).rejects.toMatchObject({
      code: "definition_invalid",
      message: expect.stringMatching(message),
    });
  });

  it("refuses an export that is no workflow", async () => {
    await expect(loaded("export default { hello: 1 }")).rejects.toMatchObject({
      code: "definition_threw",
      message: expect.stringContaining("made by defineWorkflow"),
    });
  });
});

describe("many transitions of a definition at once", () => {
  const TALLY = (code: string): string => `
    import { assign, setup } from "xstate";
    import { defineWorkflow } from "@isotope/platform/workflows";
    const machine = setup({}).createMachine({
      id: "tally", context: { n: 0, said: "" },
      on: {
        ADD: { actions: assign({ n: ({ context, event }) => { console.log("add", event.by); return context.n + event.by; } }) },
        ATTACK: { actions: assign(() => { ${code} }) },
      },
    });
    export default defineWorkflow({ machine });
  `;
  const sums = async (code: string, inHost: DefinitionHost): Promise<unknown[]> => {
    const { definition } = await loaded(TALLY(code), inHost);
    const { snapshot } = await definition.start(null);
    // The host learns how long a transition takes: only then it takes several at once.
    for (let n = 0; n < 20; n++) await definition.transition(snapshot, { type: "ADD", by: 1 });
    const answers = Array.from({ length: 100 }, (_, by) =>
      definition
        .transition(snapshot, by === 50 ? { type: "ATTACK" } : { type: "ADD", by, ü: "–" })
        .then((answer) => [JSON.parse(answer.snapshot).context.n, answer.actions], String),
    );
    return Promise.all(answers);
  };
  const expected = Array.from({ length: 100 }, (_, by) => [
    by,
    [{ kind: "log", label: "console.log", value: `add ${by}` }],
  ]);

  it.each([
    ["none of which is odd", "return { n: 50 };", [50, []]],
    ["one of which throws", "throw new Error('no');", "DefinitionError: Error: no"],
    ["one of which never ends", "for (;;);", expect.stringContaining("did not end")],
    [
      "one of which fills the memory",
      "const all = []; for (;;) all.push(new Array(10000).fill(all.length));",
      expect.stringContaining("ended its process"),
    ],
  ])("%s: each has its own answer", async (_name, code, outcome) => {
    expect(await sums(code, code.includes("all.push") ? patient : host)).toEqual(expected.with(50, outcome));
  });
});

describe("attacks on the host", () => {
  it.each([
    ["an endless loop", "for (;;);", "definition_timeout"],
    [
      "an endless loop in a promise job",
      "Promise.resolve().then(() => { for (;;); }); return {};",
      "definition_timeout",
    ],
    [
      "a catastrophic regular expression",
      'return { x: /^(a+)+$/.test("a".repeat(60) + "b") };',
      "definition_timeout",
    ],
    [
      "a heap blow-up",
      "const all = []; for (;;) all.push(new Array(10000).fill(all.length));",
      "definition_memory",
    ],
    [
      "buffers beyond the heap",
      "const all = []; for (;;) all.push(new Uint8Array(4_000_000).fill(1));",
      "definition_memory",
    ],
    ["deep recursion", "const f = () => 1 + f(); return { x: f() };", "definition_threw"],
    [
      "huge strings",
      'let x = "abcdefgh"; for (let i = 0; i < 40; i++) x += x; return { x };',
      "definition_threw",
    ],
    ["code from strings", 'return { x: eval("1") };', "definition_threw"],
    [
      "the constructor of functions",
      'return { x: (() => 1).constructor("return process")() };',
      "definition_threw",
    ],
    ["a file", 'return { x: process.mainModule.require("fs") };', "definition_threw"],
  ])("%s fails that transition alone", async (_name, code, expected) => {
    const inHost = expected === "definition_memory" ? patient : host;
    expect(await attacked(code, inHost)).toMatchObject({ code: expected });
  });

  it.each([
    [
      "globals of the runtime",
      "return { leaks: [typeof Deno, typeof process, typeof WebAssembly.Module].filter((t) => t !== 'undefined' && t !== 'function').length };",
    ],
    [
      "frames of the host",
      `const before = Error.prepareStackTrace; let sites = [];
      Error.prepareStackTrace = (_e, s) => { sites = s; return ""; };
      void new Error("x").stack; Error.prepareStackTrace = before;
      const found = sites.flatMap((s) => [s.getThis(), s.getFunction()]).filter((v) => v !== undefined && v !== null);
      return { leaks: found.filter(reachesRuntime).length };`,
    ],
    [
      "callers of its functions",
      "let f = function me() { return me.caller; }; const found = []; for (let at = f(); at && found.length < 50; at = at.caller) found.push(at); return { leaks: found.filter(reachesRuntime).length };",
    ],
    [
      "what the host put into its context",
      "return { leaks: Object.getOwnPropertyNames(globalThis).map((name) => globalThis[name]).filter(reachesRuntime).length };",
    ],
  ])("%s lead nowhere", async (_name, code) => {
    const probe =
      "const reachesRuntime = (v) => { try { return v.constructor.constructor('return typeof Deno')() !== undefined; } catch { return false; } };";
    const outcome = await attacked(
      `${probe} try { ${code} } catch (error) { if (error instanceof TypeError) return { leaks: 0 }; throw error; }`,
    );
    expect(JSON.parse((outcome as { snapshot: string }).snapshot).context).toEqual({ leaks: 0 });
  });

  it("tampering with the language changes its own answers only", async () => {
    const { definition } = await loaded(
      attack(
        'JSON.stringify = () => "1},{"; Array.prototype.map = () => [1]; Object.prototype.polluted = 1; Promise.prototype.then = () => {}; return {};',
      ),
    );
    const { snapshot } = await definition.start(null);
    await definition.transition(snapshot, { type: "ATTACK" }).catch(() => undefined);
    const { definition: other } = await loaded(ORDER);
    expect((await other.start({ order: "o" })).actions).toHaveLength(1);
  });

  it("never answers a promise with anything", async () => {
    expect(await attacked("return { x: new Promise(() => {}) };")).toMatchObject({
      code: "definition_threw",
    });
  });
});
