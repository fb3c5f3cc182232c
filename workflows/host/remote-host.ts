import { connect } from "node:net";
import { gatherWrites } from "../../net/gather-writes.ts";
import { frameOf, frameReader } from "./frame-reader.ts";
import { hostFrames } from "./host-messages.ts";
import type { HostExit, StartHost } from "./host-process.ts";
import { ExitMessage, jsonFrame, launcherFrame, readLauncherFrame } from "./launcher-messages.ts";

/** Of the launcher's frames, which are pieces of a host's. */
const MAX_FRAME = 16 * 1024 * 1024;

/** Definition hosts that the launcher at a Unix socket makes, in a container without anything worth taking. */
export const remoteHosts =
  (socketFile: string): StartHost =>
  (options) => {
    const { heapMb, memoryMb, onFrame, onExit } = options;
    const socket = connect(socketFile);
    let reason: HostExit | undefined;
    let known = 0;
    let connected = false;
    const write = (pieces: readonly Buffer[]): void => {
      if (socket.destroyed) return;
      gatherWrites(socket);
      for (const piece of pieces) socket.write(piece);
    };
    const kill = (kind: HostExit["kind"], detail: string): void => {
      reason ??= { kind, detail };
      socket.destroy();
    };
    const frames = hostFrames(
      (frame) => {
        if (reason === undefined) onFrame(frame);
      },
      (detail) => kill("protocol", detail),
    );
    const reader = frameReader(MAX_FRAME, (bytes) => {
      const { kind, payload } = readLauncherFrame(bytes);
      if (kind === "bytes") frames(payload);
      else if (kind === "memory") known = Number(payload.toString("utf8"));
      else if (kind === "exit") reason ??= ExitMessage.parse(JSON.parse(payload.toString("utf8")));
    });
    socket.on("connect", () => (connected = true));
    socket.on("data", (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        kill("protocol", error instanceof Error ? error.message : String(error));
      }
    });
    let why = "the connection to the launcher of definition hosts ended";
    socket.on(
      "error",
      (error) => (why = `${connected ? "connection lost" : "no launcher"}: ${error.message}`),
    );
    socket.on("close", () => onExit(reason ?? { kind: connected ? "lost" : "gone", detail: why }));
    write(jsonFrame("start", { heapMb, memoryMb }));
    return {
      pid: undefined,
      send: (request) => write(launcherFrame("bytes", frameOf(JSON.stringify(request)))),
      watch: (working) => write(launcherFrame("watch", Buffer.from([working ? 1 : 0]))),
      residentMb: () => known,
      kill: (kind) => kill(kind, "it was ended"),
    };
  };
