import { type DenoPlace, residentMb, startDenoChild } from "./deno-child.ts";
import { frameOf } from "./frame-reader.ts";
import { hostFrames } from "./host-messages.ts";
import type { StartHost } from "./host-process.ts";

/** Definition hosts as children of this process. */
export const childHosts =
  (place: DenoPlace): StartHost =>
  (options) => {
    const frames = hostFrames(options.onFrame, (detail) => child.kill("protocol", detail));
    const child = startDenoChild({ ...place, ...options, onBytes: frames });
    return {
      pid: child.pid,
      send: (request) => child.write(frameOf(JSON.stringify(request))),
      watch: (working) => child.watch(working),
      residentMb: () => residentMb(child.pid),
      kill: (why) => child.kill(why, "it was ended"),
    };
  };
