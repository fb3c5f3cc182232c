import { Socket } from "node:net";

/**
 * Reading into a shared buffer on accepted sockets. Node offers that (`onread`) only for sockets that one connects; an accepted
 * connection gets a fresh 64 KiB allocation per read instead, which costs more than parsing does. So the handle of an accepted (and
 * still paused) socket moves to a socket made with `onread`.
 */

/** Receives the number of bytes read. @returns false to stop reading */
export interface SharedReader {
  buffer(): Buffer;
  read(bytes: number): boolean;
}

/**
 * @param accepted of a server with `pauseOnConnect`, untouched since
 * @returns undefined when this Node has no handle to move; then `accepted` is as it was
 */
export function adoptForSharedReads(accepted: Socket, reader: SharedReader): Socket | undefined {
  const handle: unknown = Reflect.get(accepted, "_handle");
  if (typeof handle !== "object" || handle === null) return undefined;
  const options = {
    handle,
    allowHalfOpen: true,
    onread: { buffer: () => reader.buffer(), callback: (bytes: number) => reader.read(bytes) },
  };
  // The types know handles of one kind only; the constructor takes what the server itself gives it.
  const socket: Socket = Reflect.construct(Socket, [options]);
  Reflect.set(accepted, "_handle", null);
  return socket;
}
