import type { Readable } from "node:stream";

/** One server-sent event. */
export interface SseEvent {
  readonly event: string;
  readonly data: string;
  /** The last one that the stream named, also of an event before. */
  readonly id: string | undefined;
}

/** The events of a stream of them; ends with it. Comments are left out. */
export async function* sseEvents(body: Readable): AsyncGenerator<SseEvent, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  let id: string | undefined;
  let event = "message";
  let data: string[] = [];
  for await (const chunk of body) {
    rest += decoder.decode(Buffer.from(chunk as Uint8Array), { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield { event, data: data.join("\n"), id };
        event = "message";
        data = [];
        continue;
      }
      const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
      if (field === "event") event = value;
      else if (field === "data") data.push(value);
      else if (field === "id") id = value;
    }
  }
}
