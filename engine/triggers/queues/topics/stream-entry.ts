import type { OutgoingMessage } from "../source.ts";

/** An entry of a stream. */
export interface StreamEntry {
  /** `<milliseconds>-<sequence>`. */
  readonly id: string;
  readonly key: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Fields and values of an entry, as `XADD` takes them. */
export const entryFields = ({ key, headers, body }: OutgoingMessage): (string | Buffer)[] => [
  "body",
  Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  "headers",
  JSON.stringify(headers),
  ...(key === undefined ? [] : ["key", key]),
];

/** Entries out of a reply of `XRANGE`, or out of one stream's part of a reply of `XREADGROUP`. Entries that were deleted meanwhile have no fields. */
export function readEntries(reply: unknown): { entries: StreamEntry[]; deleted: string[] } {
  const entries: StreamEntry[] = [];
  const deleted: string[] = [];
  for (const item of listOf(reply)) {
    const [id, fields] = listOf(item);
    if (id === undefined) continue;
    if (Array.isArray(fields)) entries.push(readEntry(textOf(id), fields));
    else deleted.push(textOf(id));
  }
  return { entries, deleted };
}

function readEntry(id: string, list: readonly unknown[]): StreamEntry {
  const fields = new Map<string, Buffer>();
  for (let at = 0; at + 1 < list.length; at += 2) {
    const value = list[at + 1];
    fields.set(textOf(list[at]), Buffer.isBuffer(value) ? value : Buffer.from(textOf(value)));
  }
  const body = fields.get("body");
  const key = fields.get("key")?.toString("utf8");
  // Written by somebody else, with fields of their own: all of them are the message.
  if (body === undefined) {
    const own = Object.fromEntries([...fields].map(([name, value]) => [name, value.toString("utf8")]));
    return {
      id,
      key,
      headers: { "content-type": "application/json" },
      body: Buffer.from(JSON.stringify(own)),
    };
  }
  return { id, key, headers: readHeaders(fields.get("headers")), body };
}

function readHeaders(json: Buffer | undefined): Record<string, string> {
  if (json === undefined) return {};
  try {
    const parsed: unknown = JSON.parse(json.toString("utf8"));
    if (typeof parsed !== "object" || parsed === null) return {};
    return Object.fromEntries(
      Object.entries(parsed).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : [])),
    );
  } catch {
    return {};
  }
}

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export function textOf(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString("utf8");
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}
