/**
 * What CommonJS code expects around it and an ES module does not have. The bundler puts `SHIM_LINE` first into every file and
 * names free `__dirname`/`__filename` as below; `withShims` replaces that one line by what the file needs, so that
 * source maps stay right and a file that needs nothing pays nothing.
 */
export const SHIM_LINE = "/*isotope:shims*/";

const REQUIRE = `import { createRequire as __isotopeCreateRequire } from "node:module"; const require = __isotopeCreateRequire(import.meta.url);`;
const FILENAME = `import { fileURLToPath as __isotopeFileURLToPath } from "node:url"; const __isotopeFilename = __isotopeFileURLToPath(import.meta.url);`;
const DIRNAME = `${FILENAME} import { dirname as __isotopeDirnameOf } from "node:path"; const __isotopeDirname = __isotopeDirnameOf(__isotopeFilename);`;

export function withShims(code: string): string {
  if (!code.startsWith(SHIM_LINE)) return code;
  const body = code.slice(SHIM_LINE.length);
  const shims: string[] = [];
  if (/\b__require\b/.test(body)) shims.push(REQUIRE);
  if (body.includes("__isotopeDirname")) shims.push(DIRNAME);
  else if (body.includes("__isotopeFilename")) shims.push(FILENAME);
  return shims.join(" ") + body;
}
