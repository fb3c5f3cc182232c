/** The rules that an archive can break, as stable names for tests, metrics and messages. */
export type ArchiveRule =
  | "format"
  | "truncated"
  | "checksum"
  | "encrypted"
  | "method"
  | "mismatch"
  | "overlap"
  | "path"
  | "type"
  | "duplicate"
  | "entries"
  | "file_size"
  | "total_size"
  | "ratio"
  | "empty";

/** An archive that is refused. Nothing of it may be used; the message names the entry and the rule. */
export class ArchiveError extends Error {
  readonly rule: ArchiveRule;
  constructor(rule: ArchiveRule, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "ArchiveError";
    this.rule = rule;
  }
}
