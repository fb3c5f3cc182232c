import type { ActorFacts } from "./definition.ts";
import type { Schema } from "./schema.ts";

/** What the engine does for an actor of a machine; hangs on the actor's logic, under a name that is the same in every copy of this module. */
export interface StepFacts {
  readonly facts: ActorFacts;
  /** Of what is sent. */
  readonly input?: Schema | undefined;
  /** Of the step's result, checked when it arrives. */
  readonly output?: Schema | undefined;
  /** The step that undoes it, when it is written in place instead of named. */
  readonly compensateWith?: unknown;
}

const STEP = Symbol.for("isotope.workflow.step");

/** The same logic, known as a step. */
export function asStep<Logic extends object>(logic: Logic, step: StepFacts): Logic {
  Object.defineProperty(logic, STEP, { value: step, configurable: true });
  return logic;
}

/** What the engine does for this logic, or undefined: it is code, which a workflow does not run. */
export function stepOf(logic: unknown): StepFacts | undefined {
  if (typeof logic !== "object" || logic === null || !(STEP in logic)) return undefined;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only `asStep` writes under this symbol
  return logic[STEP] as StepFacts;
}
