import { Agent, request } from "node:http";

export interface TimedCall {
  readonly status: number;
  /** From before the request is written to the last byte of the answer. */
  readonly ms: number;
  readonly text: string;
}

/** A caller with connections of its own that stay open, so that a measurement holds no handshake of its own making. */
export function timedCaller(connections: number): { get(url: string): Promise<TimedCall>; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    get: (url) =>
      new Promise((resolve, reject) => {
        const beganMs = performance.now();
        request(url, { agent }, (reply) => {
          let text = "";
          reply.setEncoding("latin1");
          reply.on("data", (chunk: string) => {
            text += chunk;
          });
          reply.on("end", () =>
            resolve({
              status: reply.statusCode ?? 0,
              ms: performance.now() - beganMs,
              text,
            }),
          );
          reply.on("error", reject);
        })
          .on("error", reject)
          .end();
      }),
    close: () => agent.destroy(),
  };
}
