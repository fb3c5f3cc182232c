import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  MAX_PAYLOAD_BYTES,
  MAX_PAYLOAD_KEPT_MS,
  type Payload,
  payloadOf,
  payloadRef,
} from "../../api/wire/payloads.ts";
import type { PayloadStore } from "../../engine/storage/payload-store.ts";
import { chunksOf, codeOf, sha256 } from "./archive-store-conformance.ts";

export interface PayloadsUnderTest {
  readonly store: PayloadStore;
  /** The same contents as another process, or a later one, sees them. */
  readonly again: () => Promise<PayloadStore>;
  /** Overwrites all stored contents behind the store's back. */
  readonly damage: () => Promise<void>;
  /** How many files it has, whatever they are. */
  readonly files: () => Promise<number>;
  readonly close: () => Promise<void>;
}

const HOUR_MS = 3_600_000;
const START = Date.parse("2030-01-01T00:00:00Z");

export function newPayload(bytes: Uint8Array, given: Partial<Payload> = {}): Payload {
  return {
    namespace: "default",
    expiresAtMs: START + HOUR_MS,
    id: randomBytes(8).toString("hex"),
    sizeBytes: bytes.length,
    sha256: sha256(bytes),
    ...given,
  };
}

/** What every store of payloads does. `open` gives an empty one of `maxBytes`. */
export function payloadStoreConformance(
  name: string,
  open: (maxBytes: number, now: () => number) => Promise<PayloadsUnderTest>,
): void {
  describe(`payload store: ${name}`, () => {
    const maxBytes = 100_000;
    let under: PayloadsUnderTest;
    let nowMs: number;
    beforeEach(async () => {
      nowMs = START;
      under = await open(maxBytes, () => nowMs);
    });
    afterEach(() => under.close());
    const stored = async (bytes: Uint8Array, given: Partial<Payload> = {}): Promise<Payload> => {
      const payload = newPayload(bytes, given);
      await under.store.put(payload, chunksOf(bytes));
      return payload;
    };
    const read = async (payload: Payload, store = under.store): Promise<Buffer> =>
      buffer(await store.open(payload));

    test("what was put is read back by its name, by another process too, until it is removed", async () => {
      const bytes = randomBytes(30_000);
      const payload = await stored(bytes);
      expect(payloadOf(payloadRef(payload))).toEqual(payload);
      expect((await read(payload)).equals(bytes)).toBe(true);
      expect((await read(payload, await under.again())).equals(bytes)).toBe(true);
      await under.store.remove(payload);
      expect(await codeOf(read(payload))).toBe("payload_not_found");
      await under.store.remove(payload);
      expect(await under.files()).toBe(0);
      expect(under.store.use()).toEqual({ count: 0, bytes: 0 });
    });

    test("the same content twice is two payloads; the same name twice is one", async () => {
      const bytes = randomBytes(3_000);
      const [one, two] = [await stored(bytes), await stored(bytes)];
      await under.store.put(one, chunksOf(bytes));
      await under.store.remove(one);
      expect((await read(two)).equals(bytes)).toBe(true);
      expect(await under.files()).toBe(1);
    });

    test("it is gone when its time has come, swept or not, and nothing before", async () => {
      const [soon, late] = [
        await stored(randomBytes(100)),
        await stored(randomBytes(100), { expiresAtMs: START + 5 * HOUR_MS }),
      ];
      nowMs = START + HOUR_MS - 1;
      expect(await under.store.sweep()).toBe(0);
      expect(await read(soon)).toHaveLength(100);
      nowMs = START + HOUR_MS;
      expect(await codeOf(read(soon))).toBe("payload_not_found");
      expect(await codeOf(under.store.keep(soon, nowMs + HOUR_MS))).toBe("payload_not_found");
      expect(await under.store.sweep()).toBe(1);
      expect(await read(late)).toHaveLength(100);
      expect(under.store.use()).toEqual({ count: 1, bytes: 100 });
      nowMs = START + 6 * HOUR_MS;
      // Another process finds it by its name alone.
      expect(await (await under.again()).sweep()).toBe(1);
      expect(await under.files()).toBe(0);
    });

    test("kept for longer it has another name, and goes with neither the first one's time nor its removal", async () => {
      const bytes = randomBytes(5_000);
      const [first, second] = [await stored(bytes), await stored(bytes)];
      const kept = await under.store.keep(first, START + 3 * HOUR_MS);
      const other = await under.store.keep(second, START + 3 * HOUR_MS);
      await under.store.remove(first);
      nowMs = START + 2 * HOUR_MS;
      expect(await under.store.sweep()).toBe(1);
      for (const payload of [kept, other]) expect((await read(payload)).equals(bytes)).toBe(true);
      expect(await codeOf(under.store.keep(newPayload(bytes, { expiresAtMs: nowMs + 1 }), nowMs + 2))).toBe(
        "payload_not_found",
      );
    });

    test.each([
      ["another content", { sha256: "0".repeat(64) }, "bad_request"],
      ["a smaller size", { sizeBytes: 10 }, "body_too_large"],
      ["a larger size", { sizeBytes: 5_000 }, "bad_request"],
      ["more than is allowed", { sizeBytes: MAX_PAYLOAD_BYTES + 1 }, "body_too_large"],
      ["a time that has passed", { expiresAtMs: START }, "bad_request"],
      ["a time that is too far away", { expiresAtMs: START + MAX_PAYLOAD_KEPT_MS + 1 }, "bad_request"],
    ])("whose name says %s is not stored", async (_what, given, code) => {
      expect(await codeOf(stored(randomBytes(3_000), given))).toBe(code);
      expect(await under.files()).toBe(0);
      expect(under.store.use()).toEqual({ count: 0, bytes: 0 });
    });

    test("one whose sender goes away is not stored, and takes no room", async () => {
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield randomBytes(2_000);
        throw new Error("the caller went away");
      }
      await expect(under.store.put(newPayload(randomBytes(3_000)), broken())).rejects.toThrow("went away");
      expect(await under.files()).toBe(0);
      expect(under.store.use().bytes).toBe(0);
    });

    test("there is room for so much, of one namespace for half; what goes makes room", async () => {
      const first = await stored(randomBytes(30_000));
      expect(await codeOf(stored(randomBytes(30_000)))).toBe("storage_full");
      await stored(randomBytes(40_000), { namespace: "other" });
      expect(await codeOf(stored(randomBytes(40_000), { namespace: "third" }))).toBe("storage_full");
      // At the same time they do not pass the bound together.
      const both = [stored(randomBytes(20_000)), stored(randomBytes(20_000), { namespace: "third" })];
      expect((await Promise.all(both.map((one) => codeOf(one)))).toSorted()).toEqual([
        "none",
        "storage_full",
      ]);
      await under.store.remove(first);
      await stored(randomBytes(30_000), { namespace: "third" });
      expect(await (await under.again()).sweep()).toBe(0);
      nowMs = START + 2 * HOUR_MS;
      await stored(randomBytes(50_000), { expiresAtMs: nowMs + HOUR_MS }).catch(() => undefined);
      await under.store.sweep();
      await stored(randomBytes(40_000), { expiresAtMs: nowMs + HOUR_MS, namespace: "fourth" });
    });

    test("a large damaged one never comes out whole", async () => {
      // Beyond what is verified before the first byte.
      await under.close();
      under = await open(10 * 2 ** 20, () => nowMs);
      const payload = await stored(randomBytes(3 * 2 ** 20));
      expect(await read(payload)).toHaveLength(payload.sizeBytes);
      await under.damage();
      await expect(read(payload)).rejects.toThrow();
      expect(await codeOf(read(payload))).toBe("payload_not_found");
    });

    test("what is stored while a count is made is counted once", async () => {
      const before = await Promise.all(Array.from({ length: 10 }, () => stored(randomBytes(1_000))));
      const work = [
        under.store.sweep(),
        ...Array.from({ length: 10 }, () => stored(randomBytes(1_000))),
        ...before.slice(0, 5).map((payload) => under.store.remove(payload)),
        under.store.sweep(),
      ];
      await Promise.all(work);
      expect(under.store.use()).toEqual({ count: 15, bytes: 15_000 });
      const again = await under.again();
      await again.sweep();
      expect(again.use()).toEqual({ count: 15, bytes: 15_000 });
    });

    test("a damaged one is never served, is not there any more, and goes with its time", async () => {
      const payload = await stored(randomBytes(3_000));
      await under.damage();
      expect(await codeOf(read(payload))).toBe("archive_unavailable");
      expect(await codeOf(read(payload))).toBe("payload_not_found");
      nowMs = START + HOUR_MS;
      expect(await under.store.sweep()).toBe(1);
      expect(await under.files()).toBe(0);
    });
  });
}
