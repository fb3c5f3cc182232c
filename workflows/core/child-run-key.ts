import { createHash } from "node:crypto";
import type { RunKey } from "./run-record.ts";

const MAX_ID = 128;

/** Address of the run that an attempt of a token of a parent stands for: the same whenever it is asked, so that starting it again finds it. */
export function childRunKey(parent: RunKey, given: string, attempt = 1): RunKey {
  const token = attempt === 1 ? given : `${given}-${attempt}`;
  const id = `${parent.id}.${token}`;
  if (id.length <= MAX_ID) return { namespace: parent.namespace, id };
  const digest = createHash("sha256").update(parent.id).digest("hex").slice(0, 32);
  return { namespace: parent.namespace, id: `${parent.id.slice(0, 60)}-${digest}.${token}` };
}
