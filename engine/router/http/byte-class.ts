/**
 * Lookup tables over bytes for the parsers. A table entry answers in one load what a chain of comparisons would.
 * Sources: RFC 9110 5.6.2 (token), 5.5 (field value); RFC 3986 2 (target).
 */

const TOKEN_PUNCTUATION = "!#$%&'*+-.^_`|~";

/** Lower-case form of a byte that may stand in a header name, 0 for every other byte. */
export const NAME_BYTE: Uint8Array = nameTable();
/** 1 for bytes that may stand in a field value (HTAB, SP, visible ASCII, obs-text). */
export const VALUE_BYTE: Uint8Array = table((byte) => byte === 9 || (byte >= 0x20 && byte !== 0x7f));
/** 1 for bytes of a method: upper case only, since `get` would become `GET` further on and slip past method rules. */
export const METHOD_BYTE: Uint8Array = table(
  (byte) =>
    (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x5f,
);
/** Value of a hexadecimal digit, 255 for other bytes. */
export const HEX_VALUE: Uint8Array = hexTable();

/** The target's bytes: 0 = not allowed, else a set of the flags below. */
export const TARGET_PLAIN = 1;
/** `%` */
export const TARGET_PERCENT = 2;
/** `.`, which may make a dot segment. */
export const TARGET_DOT = 4;
/** Must be percent-encoded to be canonical: beyond ASCII, or what URL parsers encode in a path. */
export const TARGET_ENCODE = 8;
/** `\`, which URL parsers read as `/`. */
export const TARGET_BACKSLASH = 16;
/** `?` */
export const TARGET_QUESTION = 32;
export const TARGET_BYTE: Uint8Array = targetTable();

function table(allowed: (byte: number) => boolean): Uint8Array {
  const out = new Uint8Array(256);
  for (let byte = 0; byte < 256; byte++) if (allowed(byte)) out[byte] = 1;
  return out;
}

function nameTable(): Uint8Array {
  const out = new Uint8Array(256);
  for (let byte = 0x30; byte <= 0x39; byte++) out[byte] = byte;
  for (let byte = 0x61; byte <= 0x7a; byte++) out[byte] = out[byte - 32] = byte;
  for (const char of TOKEN_PUNCTUATION) out[char.charCodeAt(0)] = char.charCodeAt(0);
  return out;
}

function hexTable(): Uint8Array {
  const out = new Uint8Array(256).fill(255);
  for (let digit = 0; digit < 16; digit++) {
    const char = digit.toString(16);
    out[char.charCodeAt(0)] = digit;
    out[char.toUpperCase().charCodeAt(0)] = digit;
  }
  return out;
}

function targetTable(): Uint8Array {
  const out = new Uint8Array(256);
  for (let byte = 0x21; byte <= 0x7e; byte++) out[byte] = TARGET_PLAIN;
  // 0xff is in no text of any encoding that a URL may be written in; node:http refuses it too.
  for (let byte = 0x80; byte < 0xff; byte++) out[byte] = TARGET_ENCODE;
  for (const char of '"<>^`{}') out[char.charCodeAt(0)] = TARGET_ENCODE;
  out["#".charCodeAt(0)] = 0;
  out["%".charCodeAt(0)] = TARGET_PERCENT;
  out[".".charCodeAt(0)] = TARGET_DOT;
  out["\\".charCodeAt(0)] = TARGET_BACKSLASH;
  out["?".charCodeAt(0)] = TARGET_QUESTION;
  return out;
}
