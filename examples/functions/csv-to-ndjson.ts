import { Buffer } from "node:buffer";
import { Readable } from "node:stream";
import { parse } from "csv-parse";
import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: "/csv-to-ndjson",
  methods: ["POST"],
  streaming: true,
} satisfies FunctionConfig;

/** Streams a CSV of any size with a header line into one JSON object a line; memory stays flat. */
export default (request: Request): Response => {
  if (!request.body) return Response.json({ error: "send a CSV file as the body" }, { status: 400 });
  const rows = Readable.fromWeb(request.body as never).pipe(
    parse({ columns: true, skip_empty_lines: true, trim: true }),
  );
  const lines = Readable.from(
    (async function* () {
      for await (const row of rows) yield Buffer.from(`${JSON.stringify(row)}\n`);
    })(),
  );
  return new Response(Readable.toWeb(lines) as ReadableStream<Uint8Array>, {
    headers: { "content-type": "application/x-ndjson" },
  });
};
