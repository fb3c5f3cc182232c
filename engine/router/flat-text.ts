/**
 * The same text in one piece. The engine keeps what was put together as a tree of pieces and walks it at every write: worth it for text
 * that is written with many requests. Latin1 only.
 */
export const flatText = (text: string): string => Buffer.from(text, "latin1").toString("latin1");
