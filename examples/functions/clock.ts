import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: "/clock",
  methods: ["GET"],
  streaming: { idleTimeout: "30s" },
} satisfies FunctionConfig;

/** Server-sent events: GET /clock?count=5&every=1000 sends the time `count` times, every so many milliseconds. */
export default (request: Request): Response => {
  const { searchParams } = new URL(request.url);
  const count = Math.min(Number(searchParams.get("count") ?? 1000) || 1000, 100_000);
  const everyMs = Math.max(Number(searchParams.get("every") ?? 1000) || 1000, 10);
  const encoder = new TextEncoder();
  let timer: ReturnType<typeof setInterval> | undefined;
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const tick = (): void => {
        sent++;
        controller.enqueue(encoder.encode(`id: ${sent}\nevent: tick\ndata: ${new Date().toISOString()}\n\n`));
        if (sent < count) return;
        clearInterval(timer);
        controller.close();
      };
      timer = setInterval(tick, everyMs);
      tick();
    },
    cancel() {
      clearInterval(timer);
      console.log(`listener left after ${sent} ticks`);
    },
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
};
