import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { bundleWorkflow, DENO } from "../../test/workflows/workflow-bundle.ts";
import { type DefinitionHost, definitionHost, type HostEvent } from "./definition-host.ts";
import { hostedDefinition } from "./hosted-definition.ts";
import { type Launcher, type LauncherEvent, startLauncher } from "./launcher.ts";
import { remoteHosts } from "./remote-host.ts";
import { workflowCode } from "./workflow-code.ts";

const folder = mkdtempSync(join(tmpdir(), "isotope-launcher-"));
const socket = join(folder, "definitions.sock");
const events: LauncherEvent[] = [];
const said: HostEvent[] = [];
let launcher: Launcher;
let host: DefinitionHost;

const launch = (memoryMb = 4_000): Promise<Launcher> =>
  startLauncher({ socket, deno: DENO, denoDir: folder, memoryMb, onEvent: (event) => events.push(event) });
const hostAt = (options: { memoryMb?: number; deadlineMs?: number } = {}): DefinitionHost =>
  definitionHost({ start: remoteHosts(socket), onEvent: (event) => said.push(event), ...options });

beforeAll(async () => {
  launcher = await launch();
  host = hostAt();
});
afterAll(async () => {
  host.close();
  await launcher.close();
  rmSync(folder, { recursive: true, force: true });
});

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
const loaded = async (code: string, inHost = host) =>
  (await hostedDefinition(inHost, await workflowCode(await bundleWorkflow(attack(code)), "default")))
    .definition;
const outcome = (answer: Promise<unknown>): Promise<unknown> => answer.catch((error: unknown) => error);

it("runs definitions elsewhere, under a pid that is not known here", async () => {
  const definition = await loaded("return { x: 1 };");
  const { snapshot } = await definition.start(null);
  expect((await definition.transition(snapshot, { type: "END" })).status).toBe("done");
  expect(launcher.hosts).toBe(1);
  expect(host.pid).toBeUndefined();
});

it("fails what never ends, and answers others as ever", async () => {
  const definition = await loaded("for (;;);");
  const { snapshot } = await definition.start(null);
  const other = await loaded("return { y: 1 };");
  const [failed, started] = await Promise.all([
    outcome(definition.transition(snapshot, { type: "ATTACK" })),
    other.start(null),
  ]);
  expect(failed).toMatchObject({ code: "definition_timeout" });
  expect(started.states).toEqual(["a"]);
});

it.each([
  ["the heap", "const all = []; for (;;) all.push(new Array(10000).fill(all.length));"],
  ["buffers", "const all = []; for (;;) all.push(new Uint8Array(4_000_000).fill(1));"],
])("fails what fills %s, and says why", async (_what, code) => {
  const patient = hostAt({ memoryMb: 220, deadlineMs: 10_000 });
  const definition = await loaded(code, patient);
  const { snapshot } = await definition.start(null);
  expect(await outcome(definition.transition(snapshot, { type: "ATTACK" }))).toMatchObject({
    code: "definition_memory",
  });
  expect((await definition.transition(snapshot, { type: "END" })).status).toBe("done");
  patient.close();
});

it("ends a host with its connection", async () => {
  const another = hostAt();
  await (await loaded("return {};", another)).start(null);
  const before = launcher.hosts;
  another.close();
  await vi.waitFor(() => expect(launcher.hosts).toBe(before - 1), { timeout: 30_000 });
});

it("goes on once the launcher that was killed is back", async () => {
  const definition = await loaded("return { z: 1 };");
  const { snapshot } = await definition.start(null);
  await launcher.close();
  await vi.waitFor(() => expect(said.at(-1)).toMatchObject({ kind: "ended", why: { kind: "lost" } }), {
    timeout: 30_000,
  });
  await expect(definition.transition(snapshot, { type: "END" })).rejects.toMatchObject({
    code: "definition_unavailable",
  });
  const later = definition.transition(snapshot, { type: "END" });
  launcher = await launch();
  expect((await later).status).toBe("done");
});

it("takes the memory of hosts that rest when others need it, and from the largest when all work", async () => {
  host.close();
  await launcher.close();
  launcher = await launch(300);
  const [resting, working] = [
    hostAt({ deadlineMs: 20_000 }),
    hostAt({ memoryMb: 4_000, deadlineMs: 20_000 }),
  ];
  const calm = await loaded("return {};", resting);
  const { snapshot: calmly } = await calm.start(null);
  const greedy = await loaded(
    "const all = []; for (;;) all.push(new Uint8Array(4_000_000).fill(1));",
    working,
  );
  const { snapshot } = await greedy.start(null);
  events.length = 0;
  expect(await outcome(greedy.transition(snapshot, { type: "ATTACK" }))).toMatchObject({
    code: "definition_memory",
    message: expect.stringContaining("that all definitions have together"),
  });
  const ends = events.flatMap((event) => (event.kind === "ended" ? [event.why.kind] : []));
  expect(ends).toEqual(["lost", "memory", "memory"]);
  // The one that rested lost nothing by that.
  expect((await calm.transition(calmly, { type: "END" })).status).toBe("done");
  resting.close();
  working.close();
  host = hostAt();
});

it("refuses a program that is not there with its reason", async () => {
  await launcher.close();
  expect(existsSync(socket)).toBe(false);
  launcher = await startLauncher({ socket, deno: "/none/deno", denoDir: folder, memoryMb: 1_000 });
  const nowhere = hostAt();
  await expect(loaded("return {};", nowhere)).rejects.toMatchObject({
    code: "definition_unavailable",
    message: expect.stringContaining("it cannot be started"),
  });
  nowhere.close();
});
