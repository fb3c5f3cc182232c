/** Room in memory for large bodies; whoever finds none waits for its turn. */
export interface BytesInHand {
  /**
   * Runs `work` while so many bytes are taken; one alone always may.
   * @param signal ends the waiting: rejects with its reason
   */
  holding<T>(bytes: number, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

/** In the order of asking. */
export function bytesInHand(maxBytes: number): BytesInHand {
  let taken = 0;
  const queue: Waiting[] = [];
  const mayTake = (bytes: number): boolean => taken === 0 || taken + bytes <= maxBytes;
  const pump = (): void => {
    for (let next = queue[0]; next && mayTake(next.bytes); next = queue[0]) {
      queue.shift();
      taken += next.bytes;
      next.go();
    }
  };
  const turn = (bytes: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const leave = (): void => {
        queue.splice(queue.indexOf(waiting), 1);
        reject(signal.reason);
        pump();
      };
      const waiting: Waiting = {
        bytes,
        go: () => {
          signal.removeEventListener("abort", leave);
          resolve();
        },
      };
      signal.addEventListener("abort", leave, { once: true });
      queue.push(waiting);
      pump();
    });
  return {
    holding: async (bytes, signal, work) => {
      await turn(bytes, signal);
      try {
        return await work();
      } finally {
        taken -= bytes;
        pump();
      }
    },
  };
}
