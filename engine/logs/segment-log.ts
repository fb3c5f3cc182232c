/**
 * Append-only segment files of log lines, newest last.
 *
 * Invariants
 * G1. A line is written at the end of the newest segment and never changed; an unfinished line that a crash left is cut off.
 * G2. All segments together stay under `maxBytes` (plus the one being written): the oldest go first.
 * G3. A snapshot names exactly the lines that were there when it was taken.
 * G4. How far a log file is stored is known also after its lines' segments are gone: positions of all but the two newest segments
 *     are in `positions.json`, written before a newer segment is begun.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import {
  addToSummary,
  emptySummary,
  encodeLine,
  placeOf,
  recoverSegment,
  type SegmentSummary,
  type StoredLine,
  summaryFromJson,
  summaryToJson,
} from "./segment.ts";

export interface SegmentLogOptions {
  folder: string;
  maxBytes: number;
  /** Size at which a segment is closed. */
  segmentBytes?: number;
  now?: () => Date;
}

/** A part of a segment file: its first `bytes` bytes. */
export interface SegmentView {
  readonly path: string;
  readonly bytes: number;
  readonly summary: SegmentSummary;
}

interface Segment {
  readonly path: string;
  readonly summary: SegmentSummary;
  readonly day: string;
}

const DEFAULT_SEGMENT_BYTES = 4 * 1024 * 1024;
const POSITIONS_FILE = "positions.json";
/** Log files whose positions are remembered, those that were quiet longest go first. */
const MAX_PAST_POSITIONS = 50_000;
const SEGMENT = /^(\d{4}-\d{2}-\d{2})-(\d{6})\.ndjson$/;

export class SegmentLog {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #segmentBytes: number;
  readonly #now: () => Date;
  readonly #segments: Segment[];
  /** Offsets of the files that the newest segment, and the one before it, were collected from. */
  #positions: [older: Map<string, number>, newer: Map<string, number>];
  /** The same of all segments before those; the file that was written to last comes last. */
  readonly #past: Map<string, number>;
  #fd: number | undefined;
  #bytes: number;

  constructor(options: SegmentLogOptions) {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#folder = options.folder;
    this.#maxBytes = options.maxBytes;
    this.#segmentBytes = Math.min(
      options.segmentBytes ?? DEFAULT_SEGMENT_BYTES,
      Math.max(1024, options.maxBytes / 4),
    );
    this.#now = options.now ?? (() => new Date());
    const { segments, positions } = openSegments(options.folder);
    this.#segments = segments;
    this.#positions = positions;
    this.#past = readCheckpoint(join(options.folder, POSITIONS_FILE));
    this.#bytes = segments.reduce((sum, { summary }) => sum + summary.bytes, 0);
  }

  get bytes(): number {
    return this.#bytes;
  }
  get positions(): ReadonlyMap<string, number> {
    return new Map([...this.#past, ...this.#positions[0], ...this.#positions[1]]);
  }
  /** Offset up to which a log file's lines are stored; 0 for an unknown one. */
  positionOf(file: string): number {
    return this.#positions[1].get(file) ?? this.#positions[0].get(file) ?? this.#past.get(file) ?? 0;
  }
  get snapshot(): SegmentView[] {
    return this.#segments.map(({ path, summary }) => ({
      path,
      bytes: summary.bytes,
      summary: { ...summary },
    }));
  }

  append(lines: readonly StoredLine[]): void {
    for (let from = 0; from < lines.length; ) from = this.#appendSome(lines, from);
    this.#prune();
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Fills the current segment; gives the index of the first line that did not fit. */
  #appendSome(lines: readonly StoredLine[], from: number): number {
    const segment = this.#current();
    const texts: string[] = [];
    const sizes: number[] = [];
    let room = this.#segmentBytes - segment.summary.bytes;
    for (const stored of lines.slice(from)) {
      if (room <= 0) break;
      const text = encodeLine(stored);
      const bytes = Buffer.byteLength(text);
      texts.push(text);
      sizes.push(bytes);
      room -= bytes;
    }
    writeAll(this.#fd ?? -1, texts.join(""));
    const to = from + texts.length;
    for (const [index, stored] of lines.slice(from, to).entries()) {
      addToSummary(segment.summary, stored.line, sizes[index] ?? 0);
      this.#bytes += sizes[index] ?? 0;
      notePosition(this.#positions[1], stored.from);
    }
    return to;
  }

  #current(): Segment {
    const day = this.#now().toISOString().slice(0, 10);
    const last = this.#segments.at(-1);
    if (!last || last.summary.bytes >= this.#segmentBytes || last.day !== day) return this.#roll(day, last);
    this.#fd ??= openSync(last.path, "a", 0o600);
    return last;
  }

  #roll(day: string, last: Segment | undefined): Segment {
    this.close();
    if (last) writeSummary(last);
    this.#keepPositions(this.#positions[0]);
    this.#positions = [this.#positions[1], new Map()];
    const segment = newSegment(this.#folder, day, last);
    this.#fd = openSync(segment.path, "a", 0o600);
    this.#segments.push(segment);
    return segment;
  }

  /** Invariant G4. */
  #keepPositions(positions: ReadonlyMap<string, number>): void {
    if (positions.size === 0) return;
    for (const [file, offset] of positions) {
      this.#past.delete(file);
      this.#past.set(file, offset);
    }
    for (const file of this.#past.keys()) {
      if (this.#past.size <= MAX_PAST_POSITIONS) break;
      this.#past.delete(file);
    }
    writeCheckpoint(join(this.#folder, POSITIONS_FILE), this.#past);
  }

  #prune(): void {
    while (this.#bytes > this.#maxBytes && this.#segments.length > 1) {
      const oldest = this.#segments.shift();
      if (!oldest) return;
      this.#bytes -= oldest.summary.bytes;
      rmSync(oldest.path, { force: true });
      rmSync(summaryPath(oldest.path), { force: true });
    }
  }
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text, "utf8");
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

function newSegment(folder: string, day: string, last: Segment | undefined): Segment {
  const number = last ? Number(SEGMENT.exec(last.path.slice(folder.length + 1))?.[2] ?? 0) + 1 : 1;
  return {
    path: join(folder, `${day}-${String(number % 1_000_000).padStart(6, "0")}.ndjson`),
    summary: emptySummary(),
    day,
  };
}

function openSegments(folder: string): {
  segments: Segment[];
  positions: [Map<string, number>, Map<string, number>];
} {
  const names = readdirSync(folder)
    .filter((name) => SEGMENT.test(name))
    .sort();
  const positions: [Map<string, number>, Map<string, number>] = [new Map(), new Map()];
  const segments = names.map((name, index) => {
    const path = join(folder, name);
    const newest = index === names.length - 1;
    const recent = index === names.length - 2 ? positions[0] : newest ? positions[1] : undefined;
    const kept =
      newest || !existsSync(summaryPath(path))
        ? undefined
        : summaryFromJson(readFileSync(summaryPath(path), "utf8"));
    // The two newest are read again for their positions; older ones lack a summary only after a crash.
    const summary = kept ?? recoverSegment(path, (stored) => recent && notePosition(recent, stored.from));
    const segment = { path, summary, day: name.slice(0, 10) };
    if (!newest && !kept) writeSummary(segment);
    return segment;
  });
  return { segments, positions };
}

function notePosition(positions: Map<string, number>, from: string): void {
  const place = placeOf(from);
  if (place) positions.set(place.file, place.offset);
}

function summaryPath(path: string): string {
  return path.replace(/\.ndjson$/, ".json");
}

function writeSummary({ path, summary }: Segment): void {
  const temporary = `${summaryPath(path)}.tmp`;
  writeFileSync(temporary, summaryToJson(summary), { mode: 0o600 });
  renameSync(temporary, summaryPath(path));
}
