import { request } from "node:http";
import { connect } from "node:net";

const HOST = "127.0.0.1";
const TIMEOUT_MS = 2000;

/** Whether something listens on the port of this machine. */
export const portTaken = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect(port, HOST);
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });

/** Status of a GET on this machine; 0 when nothing answers. */
export const statusOf = (port: number, path: string): Promise<number> =>
  new Promise((done) => {
    const call = request({ host: HOST, port, path, timeout: TIMEOUT_MS, agent: false }, (reply) => {
      reply.resume();
      done(reply.statusCode ?? 0);
    });
    call.once("timeout", () => call.destroy());
    call.once("error", () => done(0));
    call.end();
  });
