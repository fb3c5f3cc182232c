/**
 * Types of what the runtime offers beyond the web's standards: put `"types": ["@isotope/platform/runtime"]` into tsconfig.json.
 * A part of Deno's API, for projects that do not install `@types/deno`; a file of either kind compiles with both.
 */
declare global {
  namespace Deno {
    /** The function's environment variables. */
    const env: {
      get(name: string): string | undefined;
      has(name: string): boolean;
      toObject(): Record<string, string>;
    };

    interface UpgradeWebSocketOptions {
      protocol?: string;
      /** Seconds without a sign of life after which the connection is closed. */
      idleTimeout?: number;
    }

    /** Answers a WebSocket handshake: return `response`, talk over `socket`. */
    function upgradeWebSocket(
      request: Request,
      options?: UpgradeWebSocketOptions,
    ): { socket: WebSocket; response: Response };

    type ServeHandler = (request: Request) => Response | Promise<Response>;

    interface ServeOptions {
      port?: number;
      hostname?: string;
      signal?: AbortSignal;
      onError?: (error: unknown) => Response | Promise<Response>;
      onListen?: (address: { hostname: string; port: number }) => void;
    }

    interface HttpServer {
      readonly finished: Promise<void>;
      shutdown(): Promise<void>;
    }

    /** Makes `handler` the function; addresses in the options are of no effect. */
    function serve(handler: ServeHandler): HttpServer;
    function serve(options: ServeOptions, handler: ServeHandler): HttpServer;
    function serve(options: ServeOptions & { handler: ServeHandler }): HttpServer;
  }
}

export type ServeHandler = Deno.ServeHandler;
