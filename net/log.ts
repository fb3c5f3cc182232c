const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
type LogLevel = (typeof LOG_LEVELS)[number];

type LogFields = Record<string, unknown>;

/** A process's own log: one JSON object a line. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields on every line. */
  with(fields: LogFields): Log;
}

export interface LogOptions {
  readonly level?: LogLevel;
  /** Where a line goes; default stderr. */
  readonly write?: (line: string) => void;
  readonly now?: () => Date;
}

/** Log of one process. Errors among the fields are written as message, code and stack. */
export function processLog(component: string, options: LogOptions = {}): Log {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  return logAt(
    { component },
    LOG_LEVELS.indexOf(options.level ?? "info"),
    write,
    options.now ?? (() => new Date()),
  );
}

function logAt(base: LogFields, lowest: number, write: (line: string) => void, now: () => Date): Log {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (LOG_LEVELS.indexOf(level) < lowest) return;
      const line = { time: now().toISOString(), level, ...base, message, ...plain(fields) };
      write(`${stringify(line)}\n`);
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => logAt({ ...base, ...plain(fields) }, lowest, write, now),
  };
}

function plain(fields: LogFields): LogFields {
  const result: LogFields = {};
  for (const [name, value] of Object.entries(fields))
    result[name] = value instanceof Error ? ofError(value) : value;
  return result;
}

function ofError(error: Error): LogFields {
  const code = "code" in error ? { code: error.code } : {};
  const cause = error.cause instanceof Error ? { cause: error.cause.message } : {};
  return { message: error.message, ...code, ...cause, stack: error.stack };
}

function stringify(line: LogFields): string {
  try {
    return JSON.stringify(line, (_name, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
  } catch {
    return JSON.stringify({
      time: line["time"],
      level: line["level"],
      message: line["message"],
      fields: "circular",
    });
  }
}
