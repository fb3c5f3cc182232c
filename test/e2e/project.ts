import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TestPlatform } from "./test-platform.ts";

/** A folder of functions under the platform's home (so that it goes with it): `{ "hello.ts": "export default …" }`. */
export function writeProject(
  platform: Pick<TestPlatform, "home">,
  files: Readonly<Record<string, string>>,
): string {
  const folder = mkdtempSync(join(platform.home, "project-"));
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, "functions", name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return folder;
}

/** Deploys the files as a user would; throws what the CLI said when it failed. */
export async function deploy(
  platform: TestPlatform,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const folder = writeProject(platform, files);
  const { code, out, err } = await platform.cli(["deploy", folder]);
  if (code !== 0) throw new Error(`deploy ended with ${code}:\n${out}\n${err}`);
  return folder;
}
