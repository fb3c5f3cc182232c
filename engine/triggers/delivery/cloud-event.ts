import { headerText } from "./request-headers.ts";

/** A request as it is kept: of a CloudEvent always the binary form. */
export interface NormalizedEvent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Of a CloudEvent: source and id, by which repetitions are known. */
  readonly key: string | undefined;
}

const STRUCTURED = /^application\/cloudevents\+json\b/i;
/** Names of attributes; everything else is no CloudEvent's. */
const ATTRIBUTE = /^[a-z0-9]{1,64}$/;

/**
 * Reads a CloudEvent 1.0 in binary (`ce-*` headers) or structured (`application/cloudevents+json`) form; any other request stays what it is, and so does
 * a structured one that breaks the format: the function sees what was sent.
 */
export function normalizedEvent(
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): NormalizedEvent {
  if (STRUCTURED.test(headers["content-type"] ?? "")) {
    const structured = structuredEvent(headers, body);
    if (structured) return structured;
  }
  const { "ce-id": id, "ce-source": source, "ce-specversion": version } = headers;
  return { headers, body, key: id && source && version === "1.0" ? keyOf(source, id) : undefined };
}

const keyOf = (source: string, id: string): string => `ce\n${source}\n${id}`;

function structuredEvent(
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): NormalizedEvent | undefined {
  const event = parsed(body);
  if (!event) return undefined;
  const { specversion, id, source, type, data, data_base64: base64, datacontenttype, ...rest } = event;
  if (specversion !== "1.0" || !isText(id) || !isText(source) || !isText(type)) return undefined;
  const { "content-type": _, "content-length": __, ...kept } = headers;
  const out: Record<string, string> = { ...kept };
  for (const [name, value] of Object.entries({ specversion, id, source, type, ...rest })) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (ATTRIBUTE.test(name) && value !== null && value !== undefined) out[`ce-${name}`] = headerText(text);
  }
  const declared = isText(datacontenttype) ? datacontenttype : undefined;
  const content = contentOf(data, base64, declared);
  if (content.type !== undefined) out["content-type"] = content.type;
  return { headers: out, body: content.bytes, key: keyOf(source, id) };
}

function contentOf(
  data: unknown,
  base64: unknown,
  declared: string | undefined,
): { bytes: Uint8Array; type: string | undefined } {
  if (isText(base64)) return { bytes: Buffer.from(base64, "base64"), type: declared };
  if (data === undefined) return { bytes: new Uint8Array(), type: declared };
  const json = declared === undefined || /[/+]json\b/i.test(declared);
  const text = !json && typeof data === "string" ? data : JSON.stringify(data);
  return { bytes: Buffer.from(text), type: declared ?? "application/json" };
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

function parsed(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
