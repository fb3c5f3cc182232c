/** The end of a build's log, bounded in bytes; what fell away is said in the first line. */
export class BuildLog {
  readonly #maxBytes: number;
  #lines: string[] = [];
  #bytes = 0;
  #dropped = 0;
  constructor(maxBytes = 64 * 1024) {
    this.#maxBytes = maxBytes;
  }
  append(line: string): void {
    const kept = line.length > this.#maxBytes / 2 ? `${line.slice(0, this.#maxBytes / 2)}…` : line;
    this.#lines.push(kept);
    this.#bytes += Buffer.byteLength(kept) + 1;
    while (this.#bytes > this.#maxBytes && this.#lines.length > 1) {
      this.#bytes -= Buffer.byteLength(this.#lines.shift() ?? "") + 1;
      this.#dropped++;
    }
  }
  text(): string {
    const head = this.#dropped > 0 ? `… ${this.#dropped} earlier lines are left out …\n` : "";
    return this.#lines.length > 0 ? `${head}${this.#lines.join("\n")}\n` : "";
  }
}
