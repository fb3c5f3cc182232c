import { createHash } from "node:crypto";
import type { OpsClient } from "../ops-client.ts";

/** sha256 (hex). */
export const archiveDigest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Stores an archive unless it is there already. @returns its sha256 (hex). */
export async function uploadArchive(ops: OpsClient, bytes: Uint8Array): Promise<string> {
  const digest = archiveDigest(bytes);
  await ops.call("/v1/archive", {
    method: "PUT",
    query: { sha256: digest },
    headers: { "content-type": "application/octet-stream", "content-length": String(bytes.byteLength) },
    body: bytes,
  });
  return digest;
}
