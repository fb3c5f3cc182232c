// Stores one payload after another until it is killed; prints the name of each that was reported as stored.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { payloadRef } from "../../api/wire/payloads.ts";
import { openLocalPayloadStore } from "../../engine/storage/payload-store.ts";

const store = await openLocalPayloadStore(process.argv[2] ?? "");
for (;;) {
  const bytes = randomBytes(200_000);
  const payload = {
    namespace: "default",
    expiresAtMs: Date.now() + 3_600_000,
    id: randomUUID().replaceAll("-", ""),
    sizeBytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
  await store.put(payload, [bytes]);
  process.stdout.write(`${payloadRef(payload)}\n`);
}
