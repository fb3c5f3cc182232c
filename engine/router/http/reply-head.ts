import { STATUS_CODES } from "node:http";

const statusLines: string[] = [];
let date = "";
let dateUntil = 0;

/** `HTTP/1.1 200 OK\r\n`. The reason is the registered one, whatever an upstream says. */
export function statusLine(status: number): string {
  return (statusLines[status] ??= `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`);
}

/** `date: …\r\n`, formatted once per second. */
export function dateLine(): string {
  const now = Date.now();
  if (now >= dateUntil) {
    dateUntil = now - (now % 1000) + 1000;
    date = `date: ${new Date(now).toUTCString()}\r\n`;
  }
  return date;
}
