import { spawn } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Flags } from "../command.ts";
import type { CliContext } from "../context.ts";

export type PictureFormat = "mermaid" | "svg";
export const PICTURE_FLAGS = {
  output: {
    type: "string",
    short: "o",
    aliases: ["o"],
    help: "What is printed",
    choices: ["mermaid", "svg"],
    default: "mermaid",
  },
  open: { type: "boolean", help: "Open the picture with this machine's viewer instead of printing it" },
} as const satisfies Flags;

/** Prints a picture, or writes it as SVG to a file and opens that. */
export async function showPicture(
  context: CliContext,
  { open, output }: { open: boolean; output: string },
  name: string,
  draw: (format: PictureFormat) => Promise<string>,
): Promise<number> {
  if (!open) {
    context.out(await draw(output === "svg" ? "svg" : "mermaid"));
    return 0;
  }
  const path = join(await mkdtemp(join(tmpdir(), "isotope-graph-")), `${name}.svg`);
  await writeFile(path, await draw("svg"));
  context.out(`${path}\n`);
  const program =
    process.platform === "darwin" ? "open" : process.platform === "win32" ? "explorer" : "xdg-open";
  const viewer = spawn(program, [path], { stdio: "ignore", detached: true });
  await new Promise<void>((done) => {
    viewer.once("spawn", done);
    viewer.once("error", () => {
      context.note(`No viewer was found: open the file yourself`);
      done();
    });
  });
  viewer.unref();
  return 0;
}
