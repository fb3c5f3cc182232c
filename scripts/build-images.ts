import { homedir, loadavg } from "node:os";
import { join } from "node:path";
import {
  list,
  oneOf,
  optionalText,
  parseSettings,
  SettingsError,
  settingsHelp,
  text,
  toggle,
} from "../net/settings.ts";
import { type BuiltImage, buildImages } from "./images/build-images.ts";
import { ENGINES, findEngine } from "./images/container-engine.ts";
import { IMAGES, ROOT } from "./images/image-table.ts";
import { startTime } from "./images/start-times.ts";

/**
 * Builds the platform's images and exports them as OCI archives: `node scripts/build-images.ts [--images isotope,deno-env] [--base IMAGE]`.
 * The same content gives the same tag and the same digest.
 */
const SETTINGS = {
  images: list({
    flag: "images",
    env: "ISOTOPE_IMAGES",
    help: "Which images",
    fallback: IMAGES.map(({ name }) => name),
    item: new RegExp(`^(?:${IMAGES.map(({ name }) => name).join("|")})$`),
    allowed: `a comma-separated list of ${IMAGES.map(({ name }) => name).join(", ")}`,
  }),
  engine: oneOf({
    flag: "engine",
    env: "ISOTOPE_IMAGE_ENGINE",
    help: "What builds; auto = the first that is installed",
    words: ["auto", ...ENGINES],
    fallback: "auto",
  }),
  base: optionalText({
    flag: "base",
    env: "ISOTOPE_IMAGE_BASE",
    help: "Image to build on, with glibc and libstdc++ (for builder also a shell); default: a minimal Debian made of this machine's packages",
  }),
  registry: text({
    flag: "registry",
    env: "ISOTOPE_IMAGE_REGISTRY",
    help: "First part of the images' names",
    fallback: "isotope.local",
  }),
  tag: optionalText({
    flag: "tag",
    env: "ISOTOPE_IMAGE_TAG",
    help: "Tag; default: one that follows from the content",
  }),
  noStart: toggle({
    flag: "no-start",
    env: "ISOTOPE_IMAGE_NO_START",
    help: "Do not start each image once to print how long that takes",
    fallback: false,
  }),
  out: text({
    flag: "out",
    env: "ISOTOPE_IMAGE_OUT",
    help: "Folder for archives, SBOMs and images.json",
    fallback: join(ROOT, ".cache", "images"),
  }),
  cache: text({
    flag: "cache",
    env: "ISOTOPE_IMAGE_CACHE",
    help: "Folder for bases and programs that are used again",
    fallback: join(homedir(), ".cache", "isotope-images"),
  }),
};

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

interface Measured extends BuiltImage {
  readonly startMs: number | undefined;
}

function table(images: readonly Measured[]): string {
  const rows = images.map(({ ref, digest, bytes, archiveBytes, buildMs, startMs }) => [
    ref,
    digest.slice(7, 19),
    mib(bytes),
    mib(archiveBytes),
    (buildMs / 1000).toFixed(1),
    startMs === undefined ? "" : String(startMs),
  ]);
  const head = ["image", "digest", "files MiB", "archive MiB", "built in s", "start ms"];
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv.includes("--help")) {
    process.stdout.write(`Builds the platform's images\n\n${settingsHelp(SETTINGS)}\n`);
    return;
  }
  const settings = parseSettings(SETTINGS, { argv, env: process.env });
  const engine = await findEngine(settings.engine === "auto" ? undefined : settings.engine);
  const built = await buildImages({
    engine,
    images: IMAGES.map(({ name }) => name).filter((name) => settings.images.includes(name)),
    registry: settings.registry,
    base: settings.base,
    tag: settings.tag,
    out: settings.out,
    cache: settings.cache,
    log: (line) => process.stderr.write(`${line}\n`),
  });
  const measured: Measured[] = [];
  for (const image of built) {
    const plan = IMAGES.find(({ name }) => name === image.name);
    const startMs = !settings.noStart && plan ? await startTime(engine, plan.name, image.ref) : undefined;
    measured.push({ ...image, startMs });
  }
  process.stdout.write(`${table(measured)}\n`);
  if (!settings.noStart) process.stdout.write(`load average ${loadavg()[0]?.toFixed(1)}, ${engine.name}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${error instanceof SettingsError || error instanceof Error ? error.message : String(error)}\n`,
  );
  process.exitCode = 1;
});
