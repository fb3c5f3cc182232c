/** Keys that occur twice in one object of a (valid) JSON text, as `duplicate field "spec.a"`. */
export function findDuplicateKeys(text: string): string[] {
  const faults: string[] = [];
  const stack: { keys: Set<string> | undefined; path: string; index: number; key: string }[] = [];
  const placeOf = (): string => {
    const top = stack.at(-1);
    if (!top) return "";
    if (!top.keys) return `${top.path}[${top.index}]`;
    return top.path === "" ? top.key : `${top.path}.${top.key}`;
  };
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    const top = stack.at(-1);
    if (char === '"') {
      const end = endOfString(text, at);
      if (expectsKey && top?.keys) {
        const key: string = JSON.parse(text.slice(at, end + 1));
        top.key = key;
        if (top.keys.has(top.key)) faults.push(`duplicate field "${placeOf()}"`);
        top.keys.add(top.key);
        expectsKey = false;
      }
      at = end;
    } else if (char === "{") {
      stack.push({ keys: new Set(), path: placeOf(), index: 0, key: "" });
      expectsKey = true;
    } else if (char === "[") {
      stack.push({ keys: undefined, path: placeOf(), index: 0, key: "" });
      expectsKey = false;
    } else if (char === "}" || char === "]") {
      stack.pop();
      expectsKey = false;
    } else if (char === "," && top) {
      top.index++;
      expectsKey = top.keys !== undefined;
    }
  }
  return faults;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}
