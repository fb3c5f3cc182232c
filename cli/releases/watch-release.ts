import { setTimeout as pause } from "node:timers/promises";
import { type Release, ReleaseList } from "../../api/wire/releases.ts";
import { CliError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { hasEnded, renderRelease } from "./release-view.ts";

const POLL_MS = 1_000;
const DEFAULT_WIDTH = 80;
const MIN_WIDTH = 60;

/** Releases of a namespace as the operations API tells them; with a name only that one. */
export async function readReleases(context: CliContext, name?: string): Promise<Release[]> {
  const reply = await (await context.ops()).call("/v1/releases", {
    query: { namespace: await context.namespace(), name },
    signal: context.signal,
  });
  return ReleaseList.parse(await reply.body.json()).releases;
}

/** @throws {CliError} when it is gone */
export async function readRelease(context: CliContext, name: string): Promise<Release> {
  const release = (await readReleases(context, name)).find((candidate) => candidate.name === name);
  if (!release) throw new CliError(`Release "${name}" is not there any more`);
  return release;
}

const widthOf = ({ env }: CliContext): number =>
  Math.max(MIN_WIDTH, Number(env.COLUMNS) || process.stdout.columns || DEFAULT_WIDTH);

/** The present state as text for people. */
export const releaseText = (context: CliContext, release: Release): string =>
  `${renderRelease(release, { width: widthOf(context), colour: context.interactive, nowMs: Date.now() }).join("\n")}\n`;

/**
 * Shows a release until it has ended: in place on a terminal, elsewhere one line for each decision. Resolves to its last state, also when
 * the user breaks off.
 */
export async function watchRelease(context: CliContext, name: string): Promise<Release> {
  let release = await readRelease(context, name);
  let shownLines = 0;
  let told = 0;
  for (;;) {
    if (context.interactive) {
      const text = releaseText(context, release);
      context.out(`${shownLines > 0 ? `\u001b[${shownLines}A\u001b[J` : ""}${text}`);
      shownLines = text.split("\n").length - 1;
    } else {
      // A list that was cut at its head, or begun anew by a retry, is told from its newest entry.
      const from = told <= release.decisions.length ? told : release.decisions.length - 1;
      for (const { at, action, weight, sentence } of release.decisions.slice(Math.max(0, from)))
        context.out(`${at}  ${action} ${weight} %  ${sentence}\n`);
      told = release.decisions.length;
    }
    if (hasEnded(release) || context.signal.aborted) return release;
    try {
      await pause(POLL_MS, undefined, { signal: context.signal });
      release = await readRelease(context, name);
    } catch (error) {
      if (context.signal.aborted) return release;
      throw error;
    }
  }
}
