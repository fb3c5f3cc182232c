import { setTimeout as pause } from "node:timers/promises";
import type { CanaryDecision } from "../../api/kinds/index.ts";
import { type Release, ReleaseList } from "../../api/wire/releases.ts";
import { CliError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { isColourful } from "../output.ts";
import { hasEnded, renderRelease } from "./release-view.ts";

const POLL_MS = 1_000;
const DEFAULT_WIDTH = 80;
const MIN_WIDTH = 30;

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
  Math.max(MIN_WIDTH, process.stdout.columns || Number(env.COLUMNS) || DEFAULT_WIDTH);

/** The present state as text for people. */
export const releaseText = (context: CliContext, release: Release): string =>
  `${renderRelease(release, { width: widthOf(context), colour: isColourful(context), nowMs: Date.now() }).join("\n")}\n`;

/**
 * Shows a release until it has ended, and its traffic goes where it said: in place on a terminal, elsewhere one line for each decision. Resolves to its last state, also when
 * the user breaks off.
 */
export async function watchRelease(
  context: CliContext,
  name: string,
  pollMs: number = POLL_MS,
): Promise<Release> {
  let release = await readRelease(context, name);
  let shownLines = 0;
  let last: CanaryDecision | undefined;
  // By what it says, not by its place: old decisions are dropped at the head.
  const isTold = ({ at, action }: CanaryDecision): boolean => at === last?.at && action === last.action;
  for (;;) {
    if (context.interactive) {
      const text = releaseText(context, release);
      context.out(`${shownLines > 0 ? `\u001b[${shownLines}A\u001b[J` : ""}${text}`);
      shownLines = text.split("\n").length - 1;
    } else {
      const { startedAt = "" } = release;
      const fresh = release.decisions
        .slice(release.decisions.findLastIndex(isTold) + 1)
        // Those before belong to the releases before.
        .filter(({ at }) => at >= startedAt);
      for (const { at, action, weight, sentence } of fresh)
        context.out(`${at}  ${action} ${weight} %  ${sentence}\n`);
      last = release.decisions.at(-1);
    }
    if ((hasEnded(release) && release.applied) || context.signal.aborted) return release;
    try {
      await pause(pollMs, undefined, { signal: context.signal });
      release = await readRelease(context, name);
    } catch (error) {
      if (context.signal.aborted) return release;
      throw error;
    }
  }
}
