/**
 * Follows one container's log file through rotation, truncation and restarts.
 *
 * Invariants
 * T1. A file is known by its identity (inode and birth time), not by its name: after a rotation the rest of the old file is read
 *     through the descriptor that is still open, then the new file from its start.
 * T2. A file that became shorter than what was read of it was truncated, and is read from its start.
 * T3. `position` names the offset from which nothing was handed out yet.
 */
import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { type ContainerLine, CriLineReader } from "./cri-lines.ts";

export interface FilePosition {
  readonly file: string;
  readonly offset: number;
}

export interface TailBatch {
  readonly file: string;
  readonly lines: ContainerLine[];
}

const CHUNK = 256 * 1024;
/** What one look takes at most, so that one loud container does not starve the others. */
const MAX_BYTES_PER_LOOK = 4 * 1024 * 1024;

export class FileTail {
  readonly path: string;
  readonly #resumeAt: (file: string) => number;
  #fd: number | undefined;
  #file = "";
  #reader = new CriLineReader(0);

  /** `resumeAt` gives the offset at which a file of that identity is to be begun; 0 for an unknown one. */
  constructor(path: string, resumeAt: (file: string) => number) {
    this.path = path;
    this.#resumeAt = resumeAt;
  }

  get position(): FilePosition | undefined {
    return this.#fd === undefined ? undefined : { file: this.#file, offset: this.#reader.safeOffset };
  }

  /** Opens the file without reading it, so that what is in it now can be read later under whatever name. */
  hold(): void {
    if (this.#fd !== undefined) return;
    const present = openIfExists(this.path);
    if (present) this.#begin(present);
  }

  /** Reads what is new. `more` says that there is more to read already. */
  look(): { batches: TailBatch[]; more: boolean } {
    const batches: TailBatch[] = [];
    const budget = { bytes: MAX_BYTES_PER_LOOK };
    // The rest of a rotated file, then the file that took its name.
    for (let turn = 0; turn < 4; turn++) {
      const present = openIfExists(this.path);
      if (present && this.#fd !== undefined && present.file === this.#file) closeSync(present.fd);
      else if (present && this.#fd === undefined) this.#begin(present);
      const batch = this.#read(budget);
      if (batch.lines.length > 0) batches.push(batch);
      if (budget.bytes <= 0) {
        if (present && present.fd !== this.#fd && present.file !== this.#file) closeSync(present.fd);
        return { batches, more: true };
      }
      if (!present || present.file === this.#file) break;
      this.close();
      this.#begin(present);
    }
    return { batches, more: false };
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #begin({ fd, file }: OpenFile): void {
    this.#fd = fd;
    this.#file = file;
    this.#reader = new CriLineReader(this.#resumeAt(file));
  }

  #read(budget: { bytes: number }): TailBatch {
    const lines: ContainerLine[] = [];
    const fd = this.#fd;
    if (fd === undefined) return { file: "", lines };
    if (fstatSync(fd).size < this.#reader.offset) this.#reader = new CriLineReader(0);
    const chunk = Buffer.allocUnsafe(CHUNK);
    while (budget.bytes > 0) {
      const bytes = readSync(fd, chunk, 0, CHUNK, this.#reader.offset);
      if (bytes === 0) break;
      budget.bytes -= bytes;
      lines.push(...this.#reader.push(chunk.subarray(0, bytes)));
    }
    return { file: this.#file, lines };
  }
}

interface OpenFile {
  readonly fd: number;
  readonly file: string;
}

function openIfExists(path: string): OpenFile | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "EACCES"))
      return undefined;
    throw error;
  }
  return { fd, file: identityOf(fstatSync(fd)) };
}

/** Identity of the file at a path; "" when there is none. */
export function fileIdentity(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats ? identityOf(stats) : "";
}

/** Inode and birth time: an inode number alone is given to the next file soon. */
function identityOf(stats: Stats): string {
  return `${stats.ino.toString(36)}.${Math.floor(stats.birthtimeMs).toString(36)}`;
}
