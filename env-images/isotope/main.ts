/** The image's entry: `node main.js <component> [flags]` becomes that component's process. */
import { COMPONENTS } from "../../api/components.ts";

const [name = ""] = process.argv.splice(2, 1);
const component = COMPONENTS.find((one) => one.name === name);
if (component) {
  process.title = `isotope-${component.name}`;
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  await import(new URL(`../../${component.entry}.${extension}`, import.meta.url).href);
} else {
  const names = COMPONENTS.map((one) => `  ${one.name.padEnd(14)} ${one.what}`).join("\n");
  const wanted = name === "--help";
  const why = wanted ? "" : `Cannot start component "${name}": it must be one of those below\n\n`;
  process[wanted ? "stdout" : "stderr"].write(`${why}Isotope's components; each knows --help\n\n${names}\n`);
  process.exitCode = wanted ? 0 : 2;
}
