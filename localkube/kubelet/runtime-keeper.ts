/**
 * Keeps the connection to the shim.
 * 1. A lost shim is replaced before anything else is started; whoever asks meanwhile waits.
 * 2. `running` names exactly the attempts that may still write to their log.
 */
import { errorText } from "./error-text.ts";
import { connectRuntime, type Runtime, type RuntimeOptions } from "./runtime.ts";
import type { ExitRecord, ProcessRecord } from "./shim/messages.ts";

const RECONNECT_MS = 500;

export interface RuntimeKeeper {
  /** The connection, when there is one. */
  get(): Promise<Runtime>;
  isRunning(id: string): boolean;
  /** What was found at the start, with ends noted since. */
  found: ProcessRecord[];
  /** Lets go; the processes go on if `keepProcesses`. */
  close(keepProcesses: boolean): Promise<void>;
}

export interface KeeperOptions extends Omit<RuntimeOptions, "onLost"> {
  /** All processes died with the shim; a new one is there. */
  onReplaced(): void;
  log(message: string): void;
}

export async function keepRuntime(options: KeeperOptions): Promise<RuntimeKeeper> {
  const running = new Set<string>();
  let found: ProcessRecord[] = [];
  let closed = false;

  const onExit = (id: string, exit: ExitRecord): void => {
    running.delete(id);
    const record = found.find((one) => one.id === id);
    if (record) record.exit = exit;
    options.onExit(id, exit);
  };
  const connect = (): Promise<Runtime> => connectRuntime({ ...options, onExit, onLost: replace });
  const reconnect = async (): Promise<Runtime> => {
    try {
      return await connect();
    } catch (error) {
      options.log(errorText(error));
      if (closed) throw error;
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      return reconnect();
    }
  };
  function replace(): void {
    if (closed) return;
    options.log("the process shim has ended and all pods with it; starting another");
    current = reconnect().finally(() => running.clear());
    current.then(
      () => options.onReplaced(),
      () => {},
    );
  }

  let current = connect();
  found = (await current).found;
  for (const record of found) if (!record.exit) running.add(record.id);

  return {
    found,
    isRunning: (id) => running.has(id),
    async get() {
      const runtime = await current;
      return {
        ...runtime,
        async run(spec) {
          running.add(spec.id);
          try {
            return await runtime.run(spec);
          } catch (error) {
            running.delete(spec.id);
            throw error;
          }
        },
      };
    },
    async close(keepProcesses) {
      closed = true;
      const runtime = await current.catch(() => undefined);
      if (keepProcesses) runtime?.disconnect();
      else await runtime?.shutdown();
    },
  };
}
