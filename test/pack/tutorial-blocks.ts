import { readFileSync } from "node:fs";
import { join } from "node:path";

const TUTORIAL = join(import.meta.dirname, "..", "..", "docs", "tutorial-workflows.md");

/** The code of the workflows' tutorial, in the order of the page: the text of each `ts` block with the file that the paragraph before it names, if it names one. */
export function tutorialBlocks(): { readonly file: string | undefined; readonly code: string }[] {
  return readFileSync(TUTORIAL, "utf8")
    .split("\n\n```ts\n")
    .flatMap((before, at, parts) => {
      const code = parts[at + 1]?.split("\n```")[0];
      const paragraph = before.slice(before.lastIndexOf("\n\n") + 2);
      const file = /`([\w/-]+(?:\.test)?\.ts)`/.exec(paragraph)?.[1];
      return code === undefined ? [] : [{ file, code: `${code}\n` }];
    });
}
