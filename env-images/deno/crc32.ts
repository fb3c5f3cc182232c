/** Bytes taken at a time: the loop is short enough that a bundle is checked before it would be worth compiling. */
const STRIDE = 8;

/** Row 0 is the usual table; row n advances a byte by n further bytes. */
const TABLE = new Int32Array(256 * STRIDE);
for (let index = 0; index < 256; index += 1) {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  TABLE[index] = value;
}
for (let at = 256; at < TABLE.length; at += 1) {
  const before = TABLE[at - 256] ?? 0;
  TABLE[at] = (before >>> 8) ^ (TABLE[before & 0xff] ?? 0);
}

/** The checksum register after bytes `from` to `to`. */
function bytewise(bytes: Uint8Array, from: number, to: number, register: number): number {
  let value = register;
  for (let at = from; at < to; at += 1)
    value = (value >>> 8) ^ (TABLE[(value ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  return value;
}

/** CRC-32 as zip has it; `before` is that of the bytes before these. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const { buffer, byteOffset, length } = bytes;
  const from = Math.min(length, -byteOffset & 3);
  const strides = Math.floor((length - from) / STRIDE);
  const words = new Int32Array(
    strides === 0 ? new ArrayBuffer(0) : buffer,
    strides === 0 ? 0 : byteOffset + from,
    strides * 2,
  );
  let value = bytewise(bytes, 0, from, ~before);
  for (let at = 0; at < words.length; at += 2) {
    const low = (words[at] ?? 0) ^ value;
    const high = words[at + 1] ?? 0;
    value =
      (TABLE[0x700 + (low & 0xff)] ?? 0) ^
      (TABLE[0x600 + ((low >>> 8) & 0xff)] ?? 0) ^
      (TABLE[0x500 + ((low >>> 16) & 0xff)] ?? 0) ^
      (TABLE[0x400 + (low >>> 24)] ?? 0) ^
      (TABLE[0x300 + (high & 0xff)] ?? 0) ^
      (TABLE[0x200 + ((high >>> 8) & 0xff)] ?? 0) ^
      (TABLE[0x100 + ((high >>> 16) & 0xff)] ?? 0) ^
      (TABLE[high >>> 24] ?? 0);
  }
  return ~bytewise(bytes, from + strides * STRIDE, length, value) >>> 0;
}
