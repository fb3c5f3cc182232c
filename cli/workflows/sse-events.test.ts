import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { type SseEvent, sseEvents } from "./sse-events.ts";

const read = async (chunks: (string | Uint8Array)[]): Promise<SseEvent[]> => {
  const events: SseEvent[] = [];
  for await (const event of sseEvents(Readable.from(chunks.map((chunk) => Buffer.from(chunk)))))
    events.push(event);
  return events;
};

describe("server-sent events", () => {
  it("are read with name, id and data of several lines; comments are left out", async () => {
    expect(await read([": hello\n\nevent: entry\nid: 7\ndata: {\ndata: }\n\ndata:x\n\n"])).toEqual([
      { event: "entry", data: "{\n}", id: "7" },
      { event: "message", data: "x", id: "7" },
    ]);
  });

  it("may come in any pieces, in the middle of a character too", async () => {
    const bytes = Buffer.from("event: entry\r\ndata: Grüße\r\n\r\n");
    expect(await read([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual([
      { event: "entry", data: "Grüße", id: undefined },
    ]);
  });

  it("leave out one that the end of the stream cuts off", async () => {
    expect(await read(["data: a\n\ndata: b\n"])).toEqual([{ event: "message", data: "a", id: undefined }]);
  });
});
