import type { Json } from "../core/json.ts";
import type { FunctionActor } from "../definition/definition.ts";
import type { CallResult } from "./call-function.ts";
import { performMap } from "./perform-map.ts";
import { functionOf, jittered, type PerformerDeps, targetOf } from "./performer-deps.ts";
import type { EffectCall, EffectPerformer, Performed } from "./ports.ts";

/** Of a call whose definition sets no limit. */
const DEFAULT_TIMEOUT_MS = 300_000;
/** People who are asked take their time, the function that asks them does not. */
const ASKING_TIMEOUT_MS = 300_000;

/** Does what a run wants done: calls its functions, starts its child runs. */
export const effectPerformer = (deps: PerformerDeps): EffectPerformer => ({
  perform: async (call, signal) => {
    const { actor } = call;
    if (actor.kind === "map") return performMap(deps, call, actor, signal);
    if (actor.kind === "workflow") return startChild(deps, call, actor.parentClose);
    return callActor(deps, call, actor, signal);
  },
});

async function callActor(
  deps: PerformerDeps,
  { facts, effect, endsAt }: EffectCall,
  actor: FunctionActor,
  signal: AbortSignal,
): Promise<Performed> {
  const input = await loaded(deps, effect.input);
  const { compensates } = effect;
  const body = compensates ? { input, output: await loaded(deps, compensates.output) } : input;
  const { key } = facts;
  const limitMs = actor.waitForCallback ? ASKING_TIMEOUT_MS : DEFAULT_TIMEOUT_MS;
  const leftMs = endsAt === undefined ? limitMs : endsAt - deps.clock.now();
  const result = await deps.call(
    {
      run: key,
      token: effect.token,
      attempt: effect.attempt,
      ...functionOf(facts.pins[effect.actor], effect.actor),
      ...targetOf(actor),
      input: body,
      timeoutMs: Math.max(1, actor.waitForCallback ? Math.min(leftMs, ASKING_TIMEOUT_MS) : leftMs),
      ...(actor.waitForCallback
        ? { callbackToken: deps.tokens.make({ run: key, token: effect.token, attempt: effect.attempt }) }
        : {}),
    },
    signal,
  );
  return performed(result, deps.random);
}

function performed(result: CallResult, random: () => number): Performed {
  if (result.kind === "done") return { kind: "done", output: { value: result.output } };
  if (result.kind === "accepted") return { kind: "waiting" };
  if (result.kind === "failed") return result;
  return { kind: "later", afterMs: jittered(result.retryAfterMs, random), reason: result.why };
}

async function startChild(
  deps: PerformerDeps,
  { facts, effect }: EffectCall,
  close: "cancel" | "abandon",
): Promise<Performed> {
  const pin = facts.pins[effect.actor];
  if (pin?.kind !== "workflow")
    throw new Error(`Cannot start "${effect.actor}": the run pins no workflow for it`);
  const input = await loaded(deps, effect.input);
  const parent = { key: facts.key, token: effect.token, attempt: effect.attempt, close };
  return deps.startChild({ parent, workflow: pin.name, input });
}

const loaded = (deps: PerformerDeps, payload: EffectCall["effect"]["input"]): Promise<Json> | Json =>
  "ref" in payload ? deps.payloads.load(payload.ref) : payload.value;
