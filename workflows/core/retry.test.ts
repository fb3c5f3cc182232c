import { expect, it } from "vitest";
import type { FunctionActor, RetryRule } from "../definition/definition.ts";
import { nextAttempt } from "./retry.ts";
import type { Effect } from "./run-record.ts";

const rule: RetryRule = { maxAttempts: 3, backoffBaseMs: 100, backoffCapMs: 1_000, factor: 2, jitter: 0 };
const actor = (retry: RetryRule): FunctionActor => ({ kind: "function", name: "charge", retry });
const effect: Effect = {
  token: "1.0",
  child: "0.run.charge",
  actor: "charge",
  state: "charge",
  input: { value: null },
  attempt: 1,
  startedAt: 0,
  attemptAt: 0,
};
const next = (retry: RetryRule, error: { type: string; permanent?: boolean }) =>
  nextAttempt(effect, actor(retry), { message: "", ...error }, 1_000, () => 0);

it("does not try again what a function has refused for good under a name of its own", () => {
  expect(next(rule, { type: "CardDeclined", permanent: true })).toBeUndefined();
  expect(next(rule, { type: "OutOfStock" })).toMatchObject({ attempt: 2, notBefore: 1_100 });
});

it("tries it again where a rule names it", () => {
  const error = { type: "CardDeclined", permanent: true };
  expect(next({ ...rule, on: ["CardDeclined"] }, error)).toMatchObject({ attempt: 2 });
  expect(next({ ...rule, on: ["Fission.All"] }, error)).toMatchObject({ attempt: 2 });
  expect(next({ ...rule, perClass: { CardDeclined: rule } }, error)).toMatchObject({ attempt: 2 });
});
