import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { storageArchives } from "./archive-client.ts";

/** A storage that answers in turn; the last answer stays. */
function storage(...answers: (number | "away")[]) {
  const asked: number[] = [];
  return {
    asked,
    send: async () => {
      const answer = answers[Math.min(asked.length, answers.length - 1)] ?? "away";
      asked.push(performance.now());
      if (answer === "away") throw new PlatformError("archive_unavailable", "connect ECONNREFUSED");
      return { status: answer, headers: {}, body: Readable.from([Buffer.from("archive")]) };
    },
  };
}

test("a storage that is away for a moment is waited for", async () => {
  const from = storage("away", 503, 200);
  expect(String(await storageArchives(from, 100).read("a"))).toBe("archive");
  expect(from.asked).toHaveLength(3);
});

test("one that stays away is given up, and what it refuses is not asked for again", async () => {
  const away = storage("away");
  await expect(storageArchives(away, 100, 1_000).read("a")).rejects.toThrow("ECONNREFUSED");
  expect(away.asked.length).toBeGreaterThan(1);
  const absent = storage(404);
  await expect(storageArchives(absent, 100).read("a")).rejects.toMatchObject({
    code: "archive_unavailable",
    message: expect.stringContaining("404"),
  });
  expect(absent.asked).toHaveLength(1);
});
