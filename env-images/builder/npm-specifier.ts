/** `npm:zod@4/v4` taken apart. `range` is "" for the newest version; `subpath` starts with "/" or is "". */
export interface NpmSpecifier {
  readonly name: string;
  readonly range: string;
  readonly subpath: string;
}

const NPM = /^npm:\/?((?:@[\w.~-]+\/)?[\w.~-]+)(?:@([^/]*))?(\/.*)?$/;

/** Undefined if the text is no valid `npm:` specifier. */
export function parseNpmSpecifier(specifier: string): NpmSpecifier | undefined {
  const match = NPM.exec(specifier);
  if (!match?.[1]) return undefined;
  return { name: match[1], range: match[2] ?? "", subpath: match[3] ?? "" };
}
