import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import type { ContainerSpec, Handler, HttpGet } from "./pod.ts";

export type Answer = { ok: true } | { ok: false; message: string };

/** Where a container is and how a command is run in it. */
export interface ContainerDoor {
  container: ContainerSpec;
  address: string;
  /** The port to dial for a container port: another one where pods share 127.0.0.1. */
  dialPort(containerPort: number): number;
  exec(command: string[], timeoutMs: number): Promise<{ exitCode: number; output: string }>;
}

const MAX_BODY_IN_MESSAGE = 200;

function resolvePort(port: number | string, door: ContainerDoor): number | undefined {
  if (typeof port === "number") return door.dialPort(port);
  const named = door.container.ports?.find((candidate) => candidate.name === port)?.containerPort;
  const number = named ?? (/^\d+$/.test(port) ? Number(port) : undefined);
  return number === undefined ? undefined : door.dialPort(number);
}

function askHttp(
  get: HttpGet,
  port: number,
  address: string,
  timeoutMs: number,
  agentName: string,
): Promise<Answer> {
  const host = get.host ?? address;
  const secure = get.scheme === "HTTPS";
  const path =
    get.path === undefined || get.path === "" ? "/" : get.path.startsWith("/") ? get.path : `/${get.path}`;
  const headers: Record<string, string | string[]> = {
    "User-Agent": agentName,
    Accept: "*/*",
    Connection: "close",
  };
  for (const { name, value } of get.httpHeaders ?? []) headers[name] = value;
  const url = `${secure ? "https" : "http"}://${host}:${port}${path}`;
  return new Promise((resolve) => {
    const options = { host, port, path, headers, agent: false, rejectUnauthorized: false };
    const request = (secure ? httpsRequest : httpRequest)(options, (response) => {
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 400) {
        resolve({ ok: true });
        request.destroy();
        return;
      }
      let body = "";
      const done = (): void => {
        const text = body.trim() === "" ? "" : `: ${body.trim().slice(0, MAX_BODY_IN_MESSAGE)}`;
        resolve({ ok: false, message: `HTTP probe failed with statuscode: ${status}${text}` });
        request.destroy();
      };
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
        if (body.length > MAX_BODY_IN_MESSAGE) done();
      });
      response.once("end", done);
      response.once("error", done);
    });
    const timer = setTimeout(() => {
      resolve({ ok: false, message: `Get "${url}": no answer within ${timeoutMs / 1000} s` });
      request.destroy();
    }, timeoutMs);
    request.once("error", (error) => resolve({ ok: false, message: `Get "${url}": ${error.message}` }));
    request.once("close", () => clearTimeout(timer));
    request.end();
  });
}

function askTcp(host: string, port: number, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (answer: Answer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(
      () => end({ ok: false, message: `dial tcp ${host}:${port}: timed out` }),
      timeoutMs,
    );
    socket.once("connect", () => end({ ok: true }));
    socket.once("error", (error) =>
      end({ ok: false, message: `dial tcp ${host}:${port}: ${error.message}` }),
    );
  });
}

async function askExec(command: string[], door: ContainerDoor, timeoutMs: number): Promise<Answer> {
  if (command.length === 0) return { ok: false, message: "the command is empty" };
  try {
    const { exitCode, output } = await door.exec(command, timeoutMs);
    if (exitCode === 0) return { ok: true };
    if (exitCode === -1) return { ok: false, message: `command "${command.join(" ")}" timed out` };
    return {
      ok: false,
      message: output.trim() || `command "${command.join(" ")}" ended with exit code ${exitCode}`,
    };
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) };
  }
}

/** Carries out a probe or a lifecycle hook once. Never rejects: whatever goes wrong is the answer. */
export async function askContainer(
  handler: Handler,
  door: ContainerDoor,
  timeoutMs: number,
): Promise<Answer> {
  if (handler.exec) return askExec(handler.exec.command ?? [], door, timeoutMs);
  if (handler.sleep) {
    const waitMs = Math.min(handler.sleep.seconds * 1000, timeoutMs);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    return { ok: true };
  }
  const target = handler.httpGet ?? handler.tcpSocket;
  if (!target)
    return {
      ok: false,
      message: "there is no handler that local mode knows: httpGet, tcpSocket, exec, sleep",
    };
  const port = resolvePort(target.port, door);
  if (port === undefined)
    return { ok: false, message: `port "${target.port}" is not one of the container's named ports` };
  if (handler.httpGet) return askHttp(handler.httpGet, port, door.address, timeoutMs, "kube-probe/1.34");
  return askTcp(target.host ?? door.address, port, timeoutMs);
}
