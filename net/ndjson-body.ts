import { PassThrough, type Readable } from "node:stream";

/**
 * One JSON value a line, as they come and no faster than the reader takes them, until they end or `signal` aborts; a failure destroys the body.
 * A body that is silent gets a blank line every `heartbeatMs`, so that what is on the way keeps the connection.
 */
export function ndjsonBody(
  values: AsyncIterable<unknown>,
  { signal, heartbeatMs }: { signal: AbortSignal; heartbeatMs: number },
): Readable {
  const body = new PassThrough();
  const heartbeat = setInterval(() => body.writableLength === 0 && body.write("\n"), heartbeatMs);
  const pump = async (): Promise<void> => {
    try {
      for await (const value of values) {
        if (signal.aborted) break;
        if (body.write(`${JSON.stringify(value)}\n`)) continue;
        await new Promise<void>((resolve) => {
          body.once("drain", resolve);
          body.once("close", resolve);
        });
      }
      body.end();
    } catch (error) {
      body.destroy(error instanceof Error ? error : new Error(String(error)));
    } finally {
      clearInterval(heartbeat);
    }
  };
  void pump();
  return body;
}
