import { stringIndexOf, stringSlice } from "./primordials.ts";

export const HIDDEN = "[secret]";

/** The text with everything hidden that must not be shown. Runs beside user code, so it calls nothing that may be replaced. */
export function hide(text: string, hidden: readonly string[]): string {
  let shown = text;
  for (let index = 0; index < hidden.length; index += 1) {
    const secret = hidden[index];
    if (secret !== undefined) shown = without(shown, secret);
  }
  return shown;
}

function without(text: string, secret: string): string {
  let result = "";
  let from = 0;
  for (let at = stringIndexOf(text, secret); at !== -1; at = stringIndexOf(text, secret, from)) {
    result += stringSlice(text, from, at) + HIDDEN;
    from = at + secret.length;
  }
  return from === 0 ? text : result + stringSlice(text, from);
}
