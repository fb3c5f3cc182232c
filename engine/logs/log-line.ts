import { LOG_LINE_LEVELS, type LogLine, type LogLineLevel } from "../../api/wire/ops.ts";
import type { ContainerLine } from "./cri-lines.ts";

/** Whose log a container's output is, as far as that is known from outside. */
export interface LineOrigin {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** From the pod's labels; "" when it has none (yet). */
  readonly function: string;
  readonly revision: string;
}

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f\u009b]/;

/**
 * The stored form of a line. The runtime's own lines are JSON and say function, revision and request; any other text is attributed by
 * the pod's labels. Namespace and pod are always those of the log's folder, whatever a line claims: a tenant cannot write into another's log.
 */
export function logLineOf(line: ContainerLine, origin: LineOrigin): LogLine {
  const said = line.text.startsWith('{"') ? runtimeFields(line.text) : undefined;
  const message = said ? said.message : line.text;
  const time = said?.time ?? millisecondTime(line.time);
  return {
    time,
    level: said?.level ?? (line.stream === "stderr" ? "error" : "info"),
    message,
    namespace: origin.namespace,
    function: said?.function ?? origin.function,
    revision: said?.revision ?? origin.revision,
    pod: origin.pod,
    container: origin.container,
    stream: line.stream,
    ...(said?.requestId === undefined ? {} : { requestId: said.requestId }),
    ...(said?.stack === undefined ? {} : { stack: said.stack }),
    ...(CONTROL.test(message) ? { ansi: true } : {}),
    ...(line.cut ? { cut: true } : {}),
  };
}

interface RuntimeFields {
  time: string;
  level: LogLineLevel;
  message: string;
  function?: string;
  revision?: string;
  requestId?: string;
  stack?: string;
}

/** The fields of a line of our runtime; undefined for JSON that a program printed for itself. */
function runtimeFields(text: string): RuntimeFields | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = new Map<string, unknown>(Object.entries(value));
  const string = (name: string, max: number): string | undefined => {
    const found = fields.get(name);
    return typeof found === "string" && found.length <= max ? found : undefined;
  };
  const time = string("time", 64);
  const level = LOG_LINE_LEVELS.find((known) => known === fields.get("level"));
  const message = string("msg", Infinity);
  if (time === undefined || Number.isNaN(Date.parse(time)) || !level || message === undefined)
    return undefined;
  const optional = {
    function: string("function", 253),
    revision: string("revision", 64),
    requestId: string("requestId", 192),
    stack: string("stack", Infinity),
  };
  const known = Object.fromEntries(Object.entries(optional).filter(([, field]) => field !== undefined));
  return { time, level, message, ...known };
}

/** Container runtimes write nanoseconds; one form of time sorts as text. */
function millisecondTime(time: string): string {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? new Date().toISOString() : new Date(ms).toISOString();
}
