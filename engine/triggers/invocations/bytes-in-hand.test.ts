import { expect, test } from "vitest";
import { bytesInHand } from "./bytes-in-hand.ts";

const never = new AbortController().signal;

/** Work that ends when it is told to. */
function steps() {
  const running: string[] = [];
  const ends = new Map<string, () => void>();
  const work = (name: string) => async (): Promise<string> => {
    running.push(name);
    await new Promise<void>((resolve) => ends.set(name, resolve));
    return name;
  };
  return { running, work, end: (name: string) => ends.get(name)?.() };
}
const soon = () => new Promise((resolve) => setImmediate(resolve));

test("large bodies have so much room together, in their turn; one alone always has", async () => {
  const { running, work, end } = steps();
  const { holding } = bytesInHand(100);
  const all = [holding(60, never, work("a")), holding(50, never, work("b")), holding(10, never, work("c"))];
  await soon();
  expect(running).toEqual(["a"]);
  end("a");
  await soon();
  expect(running).toEqual(["a", "b", "c"]);
  const large = holding(500, never, work("large"));
  end("b");
  await soon();
  expect(running).not.toContain("large");
  end("c");
  await soon();
  expect(running).toContain("large");
  end("large");
  expect(await Promise.all([...all, large])).toEqual(["a", "b", "c", "large"]);
});

test("who is called off leaves its turn to the next", async () => {
  const { running, work, end } = steps();
  const { holding } = bytesInHand(100);
  const first = holding(100, never, work("first"));
  const off = new AbortController();
  const second = holding(100, off.signal, work("second"));
  const third = holding(100, never, work("third"));
  off.abort(new Error("called off"));
  await expect(second).rejects.toThrow("called off");
  await expect(holding(1, off.signal, work("late"))).rejects.toThrow("called off");
  end("first");
  await first;
  await soon();
  expect(running).toEqual(["first", "third"]);
  end("third");
  await third;
});

test("work that fails gives its room back", async () => {
  const { holding } = bytesInHand(10);
  await expect(holding(10, never, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await holding(10, never, async () => "yes")).toBe("yes");
});
