import { expect, it } from "vitest";
import { eventName, lineNote, tookText, untilText } from "./run-text.ts";

const NOW = Date.parse("2027-01-31T12:00:00Z");
const at = (ms: number): string => new Date(NOW + ms).toISOString();

it.each([
  [-5, "now"],
  [500, "in less than 1s"],
  [42_000, "in 42s"],
  [90_000, "in 1m 30s"],
  [3 * 86_400_000 - 4_000, "in 2d 23h"],
  [3 * 86_400_000, "in 3d"],
])("%i ms from now is %s", (ms, text) => {
  expect(untilText(at(ms), NOW)).toBe(text);
});

it.each([
  [26, "26ms"],
  [2_340, "2.3s"],
  [180_000, "3m"],
])("a run that took %i ms took %s", (ms, text) => {
  expect(tookText(at(-ms), at(0))).toBe(text);
});

it.each([
  ["xstate.after.patience.order.waiting", "after patience"],
  ["xstate.after.60000.order.waiting", "after 60000 ms"],
  ["xstate.done.actor.0.order.charging", "done: charging"],
  ["xstate.error.actor.0.order.paying.card", "failed: paying.card"],
  ["xstate.done.actor.charge", "done: charge"],
  ["xstate.done.state.order.both", "done: both"],
  ["APPROVE", "APPROVE"],
])("the event %s is shown as %s", (event, text) => {
  expect(eventName(event)).toBe(text);
});

it("the end of a run says first how it ended", () => {
  const error = { type: "CardDeclined", message: "no" };
  expect(lineNote({ seq: 1, at: at(0), type: "finished", transition: 2, note: "failed", error })).toBe(
    "failed: CardDeclined: no",
  );
});
