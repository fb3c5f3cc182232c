import { createHash } from "node:crypto";
import type { OpsClient } from "../ops-client.ts";

/** Stores an archive unless it is there already. @returns its sha256 (hex). */
export async function uploadArchive(ops: OpsClient, bytes: Uint8Array): Promise<string> {
  const digest = createHash("sha256").update(bytes).digest("hex");
  await ops.call("/v1/archive", {
    method: "PUT",
    query: { sha256: digest },
    headers: { "content-type": "application/octet-stream", "content-length": String(bytes.byteLength) },
    body: bytes,
  });
  return digest;
}
