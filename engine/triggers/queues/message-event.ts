import { isUtf8 } from "node:buffer";
import { INTERNAL_HEADER_PREFIXES } from "../../../api/headers.ts";
import { normalizedEvent } from "../delivery/cloud-event.ts";
import type { Outcome, TriggerEvent } from "../delivery/event.ts";
import { headerText } from "../delivery/request-headers.ts";
import { percentDecoded } from "./percent-decoded.ts";
import type { OutgoingMessage, SourceMessage } from "./source.ts";

/** What a trigger says of the messages that it takes. */
export interface MessageTrigger {
  readonly namespace: string;
  readonly name: string;
  readonly topic: string;
  readonly responseTopic?: string;
  readonly errorTopic?: string;
  /** Of messages that carry none themselves. */
  readonly contentType: string;
}

/** Of one connection, or of the message's body as it lies in the source. */
const NOT_PASSED_ON = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "idempotency-key",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]{1,256}$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/;
const CLOUD_EVENT = /^ce_(?=[a-z0-9]{1,20}$)/;

/**
 * Headers of a message as HTTP can carry them: lower case, without those that belong to a connection or to the platform. CloudEvents attributes in Kafka's
 * spelling (`ce_id`, plain text) come in that of HTTP (`ce-id`, percent-encoded). What is no HTTP header is left out.
 */
export function passedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [given, text] of Object.entries(headers)) {
    const lower = given.toLowerCase();
    const name = lower.replace(CLOUD_EVENT, "ce-");
    const value = name === lower ? text : headerText(text);
    if (!HEADER_NAME.test(name) || !HEADER_VALUE.test(value) || NOT_PASSED_ON.has(name)) continue;
    if (INTERNAL_HEADER_PREFIXES.some((prefix) => name.startsWith(prefix))) continue;
    passed[name] = value;
  }
  return passed;
}

/**
 * The event that a function is called with for a message: the CloudEvent that it carries (binary or structured), or one made of it. Messages that are
 * delivered together come as a batch of CloudEvents in JSON.
 */
export function messageEvent(trigger: MessageTrigger, message: SourceMessage): TriggerEvent {
  const { namespace, responseTopic, errorTopic } = trigger;
  const content = message.parts
    ? { headers: { "content-type": BATCH_TYPE }, body: batchBody(trigger, message.parts) }
    : cloudEvent(trigger, message);
  return {
    id: eventId(trigger, message),
    namespace,
    method: "POST",
    path: "/",
    headers: {
      ...content.headers,
      "x-fission-mqtrigger-topic": message.topic,
      ...(responseTopic === undefined ? {} : { "x-fission-mqtrigger-resptopic": responseTopic }),
      ...(errorTopic === undefined ? {} : { "x-fission-mqtrigger-errortopic": errorTopic }),
      ...(message.key === undefined ? {} : { "x-fission-mqtrigger-key": encodeURIComponent(message.key) }),
      ...(message.at === undefined ? {} : { "x-fission-mqtrigger-time": new Date(message.at).toISOString() }),
    },
    body: content.body,
  };
}

const eventId = ({ name }: MessageTrigger, { id }: SourceMessage): string => `mqt/${name}/${id}`;

/** Of a message that carries no CloudEvent, attributes made of what is known of it. */
function cloudEvent(
  trigger: MessageTrigger,
  message: SourceMessage,
): { headers: Record<string, string>; body: Uint8Array } {
  const given = { "content-type": trigger.contentType, ...passedHeaders(message.headers) };
  const { headers, body, key } = normalizedEvent(given, message.body);
  const made: Record<string, string> = {
    "ce-specversion": "1.0",
    "ce-id": headerText(eventId(trigger, message)),
    "ce-source": headerText(`/isotope/${trigger.namespace}/messagequeuetriggers/${trigger.name}`),
    "ce-type": "dev.isotope.message",
    "ce-subject": headerText(message.topic),
    ...(message.at === undefined ? {} : { "ce-time": new Date(message.at).toISOString() }),
    ...(message.key ? { "ce-partitionkey": headerText(message.key) } : {}),
  };
  return { headers: key === undefined ? { ...headers, ...made } : { ...headers }, body };
}

const BATCH_TYPE = "application/cloudevents-batch+json";
const JSON_TYPE = /[/+]json\b/i;
const TEXT_TYPE = /^text\//i;

function batchBody(trigger: MessageTrigger, parts: readonly SourceMessage[]): Buffer {
  return Buffer.from(JSON.stringify(parts.map((part) => eventInJson(cloudEvent(trigger, part)))));
}

/** A CloudEvent in its JSON format. */
function eventInJson({
  headers,
  body,
}: {
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
}): Record<string, unknown> {
  const type = headers["content-type"];
  const attributes = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith("ce-") ? [[name.slice(3), percentDecoded(value)]] : [],
  );
  return {
    ...Object.fromEntries(attributes),
    ...(type === undefined ? {} : { datacontenttype: type }),
    ...dataInJson(Buffer.from(body), type ?? ""),
  };
}

function dataInJson(body: Buffer, type: string): { data?: unknown; data_base64?: string } {
  if (body.byteLength === 0) return {};
  const text = isUtf8(body) ? body.toString("utf8") : undefined;
  if (text !== undefined && TEXT_TYPE.test(type)) return { data: text };
  try {
    if (text !== undefined && JSON_TYPE.test(type)) return { data: JSON.parse(text) };
  } catch {
    // Not what it says it is.
  }
  return { data_base64: body.toString("base64") };
}

/**
 * The function's answer, with the key and the headers of the message that it answers. It is an event of its own: attributes of a CloudEvent are those that
 * the function gave.
 */
export function responseMessage(
  topic: string,
  message: Pick<SourceMessage, "headers"> & { readonly key?: string | undefined },
  answer: Pick<Extract<Outcome, { kind: "done" }>, "headers" | "body">,
): OutgoingMessage {
  const isAttribute = ([name]: readonly [string, string]): boolean => name.startsWith("ce-");
  const kept = Object.entries(passedHeaders(message.headers)).filter((header) => !isAttribute(header));
  const type = answer.headers["content-type"];
  return {
    topic,
    ...(message.key === undefined ? {} : { key: message.key }),
    headers: {
      ...Object.fromEntries([...kept, ...Object.entries(answer.headers).filter(isAttribute)]),
      ...(type === undefined ? {} : { "content-type": type }),
    },
    body: answer.body,
  };
}
