import type { Running } from "./deadlines.ts";
import type { Log } from "./log.ts";
import type { Pod } from "./pod.ts";
import { max, min, NativeDOMException, now, startTimer } from "./primordials.ts";

/** How often a draining pod looks whether it is done. */
const LOOK_MS = 20;
/**
 * How long a pod with code stays to refuse, after the last request that was sent to it: routers that have not heard of its end send such a request to
 * another pod, while one that meets a process that is just ending may have run and cannot be sent again.
 */
const QUIET_MS = 500;
/** How long the work may take after its signals were aborted. */
const ABORT_GRACE_MS = 500;

export interface DrainOwner {
  readonly pod: Pod;
  readonly log: Log;
  readonly drainMs: number;
  readonly running: () => Running | undefined;
  readonly sockets: ReadonlySet<WebSocket>;
  readonly exit: () => void;
}

const isCloseable = (socket: WebSocket): boolean => socket.readyState <= WebSocket.OPEN;

/**
 * The drain, to be begun any number of times: new requests are refused, WebSockets are told to go elsewhere (1001), running requests
 * finish; after `drainMs` their signals abort; once nobody has sent a request for a while, the process ends with code 0.
 */
export function beginDrain(owner: DrainOwner): () => void {
  const { pod, log } = owner;
  let begun = false;
  return () => {
    if (begun) return;
    begun = true;
    const linger = pod.assignment === null ? 0 : min(QUIET_MS, owner.drainMs);
    pod.state = "retired";
    const begunAt = now();
    const abortAt = begunAt + owner.drainMs;
    let aborted = false;
    dispatchEvent(new CustomEvent("beforeunload", { detail: { reason: "drain" } }));
    for (const socket of owner.sockets)
      if (isCloseable(socket)) socket.close(1001, "The function's pod is going away");
    const look = (): void => {
      const late = now() - abortAt;
      const quiet = now() - max(begunAt, pod.refusedAt) >= linger;
      if ((pod.inFlight === 0 && (quiet || late >= 0)) || late >= ABORT_GRACE_MS) {
        if (pod.inFlight > 0) log.write("warn", `The pod ends with ${pod.inFlight} requests still running`);
        // One turn more, for the last reply to leave.
        startTimer(owner.exit, LOOK_MS);
        return;
      }
      if (late >= 0 && !aborted) {
        aborted = true;
        owner
          .running()
          ?.forEach((exchange) =>
            exchange.abort(new NativeDOMException("The pod is going away", "AbortError")),
          );
      }
      startTimer(look, LOOK_MS);
    };
    look();
  };
}
