export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Element[];
  text: string;
}

const TAG =
  /<(\/?)([\w:.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>|<!\[CDATA\[([\s\S]*?)\]\]>|([^<]+)/g;
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };
const plain = (text: string): string =>
  text.replaceAll(/&(\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole);

/** The root of a document without comments, document types or mixed encodings: what the cases are. */
export function readXml(text: string): Element {
  const root: Element = { name: "", attributes: {}, children: [], text: "" };
  const open = [root];
  for (const [, closing, name, attributes, selfClosing, cdata, chars] of text
    .replace(/<\?[^>]*\?>/, "")
    .matchAll(TAG)) {
    const parent = open.at(-1) ?? root;
    if (name === undefined) parent.text += cdata ?? plain(chars ?? "");
    else if (closing === "/") open.pop();
    else {
      const found = [...(attributes ?? "").matchAll(ATTRIBUTE)].map(
        ([, key, double, single]): [string, string] => [key ?? "", plain(double ?? single ?? "")],
      );
      const element = { name, attributes: Object.fromEntries(found), children: [], text: "" };
      parent.children.push(element);
      if (selfClosing !== "/") open.push(element);
    }
  }
  const [first] = root.children;
  if (!first) throw new Error("no element");
  return first;
}
