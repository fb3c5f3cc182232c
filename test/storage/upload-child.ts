// Uploads one archive after another until it is killed; prints the digest of each that was reported as stored.
import { createHash, randomBytes } from "node:crypto";
import { openLocalArchiveStore } from "../../engine/storage/local-archive-store.ts";

const store = await openLocalArchiveStore({ root: process.argv[2] ?? "" });
for (;;) {
  const bytes = randomBytes(200_000);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  async function* content(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
  }
  await store.put(content(), { sha256 });
  process.stdout.write(`${sha256}\n`);
}
