import { expect, test } from "vitest";
import { createOffsetTrack } from "./offset-track.ts";

/** A track with offsets 0..9 in hand. */
function tenTaken() {
  const track = createOffsetTrack();
  track.begin(0n);
  for (let offset = 0n; offset < 10n; offset++) track.take(offset);
  track.reached(10n);
  return track;
}

test("commits up to the first that is not settled, and past what carried no message", () => {
  const track = tenTaken();
  expect(track.uncommitted()).toBe(0n);
  track.settle(1n);
  track.settle(0n);
  expect(track.uncommitted()).toBe(2n);
  track.committed(2n);
  expect(track.uncommitted()).toBeUndefined();
  for (let offset = 2n; offset < 10n; offset++) track.settle(offset);
  track.reached(12n);
  expect(track.uncommitted()).toBe(12n);
  expect(track.size).toBe(0);
});

test("takes nothing twice that is in hand or settled, but what was dropped", () => {
  const track = tenTaken();
  track.settle(0n);
  track.settle(5n);
  track.drop(new Set([2n, 3n, 4n, 6n, 7n, 8n, 9n]));
  track.settle(1n);
  expect(track.uncommitted()).toBe(2n);
  track.committed(2n);
  track.begin(2n);
  const taken = [2n, 3n, 4n, 5n, 6n].filter((offset) => track.take(offset));
  expect(taken).toEqual([2n, 3n, 4n, 6n]);
});

test("an older offset that is taken again holds the commits back", () => {
  const track = tenTaken();
  for (const offset of [0n, 1n]) track.settle(offset);
  track.drop(new Set([2n]));
  track.take(2n);
  track.reached(10n);
  track.settle(3n);
  expect(track.uncommitted()).toBe(2n);
});

test("a topic that begins anew is taken from its beginning", () => {
  const track = tenTaken();
  for (let offset = 0n; offset < 10n; offset++) track.settle(offset);
  track.committed(10n);
  track.begin(0n);
  expect(track.take(0n)).toBe(true);
  track.reached(1n);
  track.settle(0n);
  expect(track.uncommitted()).toBe(1n);
});
