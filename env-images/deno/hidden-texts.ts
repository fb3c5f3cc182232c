import type { SpecializeRequest } from "../../api/wire/specialize.ts";
import { utf8Text } from "./primordials.ts";

/** Shorter values are words of every log: hiding them would garble it and hide nothing. */
const MIN_HIDDEN_CHARACTERS = 6;
const MIN_HIDDEN_LINE_CHARACTERS = 16;

/** What log lines must not show of a function's secrets: each value and, where it has several, each of its longer lines. Longest first. */
export function hiddenTexts(
  message: Pick<SpecializeRequest, "env" | "secrets" | "secretEnv">,
): readonly string[] {
  const texts = new Set<string>();
  const add = (value: string): void => {
    const text = value.trim();
    // Bytes that are no text are not printed as they are.
    if (text.length < MIN_HIDDEN_CHARACTERS || text.includes("\uFFFD")) return;
    texts.add(text);
    if (!text.includes("\n")) return;
    for (const line of text.split("\n"))
      if (line.trim().length >= MIN_HIDDEN_LINE_CHARACTERS) texts.add(line.trim());
  };
  for (const { data } of message.secrets)
    for (const value of Object.values(data)) add(utf8Text(Uint8Array.fromBase64(value)));
  for (const name of message.secretEnv ?? []) add(message.env[name] ?? "");
  return [...texts].toSorted((a, b) => b.length - a.length);
}
