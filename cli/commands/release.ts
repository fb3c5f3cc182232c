import { setTimeout as pause } from "node:timers/promises";
import { stringify } from "yaml";
import type { CanaryConfig, CanaryPhase } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND } from "../../api/names.ts";
import type { Release } from "../../api/wire/releases.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import { CliError, type Command, defineCommand } from "../command.ts";
import type { CliContext } from "../context.ts";
import { age, OUTPUT_FLAG, table } from "../output.ts";
import { findRelease } from "../releases/find-release.ts";
import { recordsText, releaseRecords } from "../releases/release-records.ts";
import { hasEnded, wasTakenBack } from "../releases/release-view.ts";
import { readRelease, readReleases, releaseText, watchRelease } from "../releases/watch-release.ts";

const NAME = { type: "string", help: "Release or function; default: the only release that runs" } as const;
const PLACE = [{ name: "name", help: "Release or function", flag: "name" }] as const;
const POLL_MS = 100;

function printStructured(context: CliContext, output: string | undefined, value: unknown): boolean {
  if (output === "json") context.out(`${JSON.stringify(value, null, 2)}\n`);
  else if (output === "yaml") context.out(stringify(value, { lineWidth: 0 }));
  else return false;
  return true;
}

function printList(context: CliContext, releases: readonly Release[]): void {
  context.out(
    table(
      ["NAME", "OLD", "NEW", "WEIGHT", "PHASE", "STARTED"],
      releases.map((release) => [
        release.name,
        release.old.name,
        release.new.name,
        `${release.new.weight} %`,
        release.phase,
        age(release.startedAt),
      ]),
    ),
  );
}

const status: Command = defineCommand({
  noun: "release",
  verb: "status",
  summary: "Show both versions of a release side by side, and what is thought of the new one",
  description:
    "On a terminal the view follows a release that runs until it has ended; --watch=false shows it once. Elsewhere it is shown once, and\n--watch prints one line for each decision. With --watch the exit code is 1 when the new version was taken back.",
  examples: [
    "isotope release status hello",
    "isotope release status hello --watch",
    "isotope release status -o json",
  ],
  positionals: PLACE,
  flags: {
    name: NAME,
    watch: { type: "boolean", short: "w", help: "Follow until it has ended" },
    output: OUTPUT_FLAG,
  },
  async run({ flags, given }, context) {
    if (flags.name === undefined) {
      const releases = await readReleases(context);
      if (releases.length !== 1) {
        if (printStructured(context, flags.output, releases)) return 0;
        if (flags.output === "name") for (const { name } of releases) context.out(`canaryconfigs/${name}\n`);
        else if (releases.length === 0) context.note("No releases found");
        else printList(context, releases);
        return 0;
      }
    }
    const { metadata } = await findRelease(await context.kube(), {
      namespace: await context.namespace(),
      name: flags.name,
    });
    const follows = given.has("watch") ? flags.watch : context.interactive && flags.output === undefined;
    if (follows && flags.output === undefined)
      return wasTakenBack(await watchRelease(context, metadata.name)) ? 1 : 0;
    const release = await readRelease(context, metadata.name);
    if (printStructured(context, flags.output, release)) return 0;
    context.out(flags.output === "name" ? `canaryconfigs/${release.name}\n` : releaseText(context, release));
    return 0;
  },
});

const history: Command = defineCommand({
  noun: "release",
  verb: "history",
  summary: "Show the releases of a function, what was decided about each and why",
  description: "The newest first: 20 releases and 50 decisions are kept.",
  positionals: PLACE,
  flags: { name: NAME, output: OUTPUT_FLAG },
  async run({ flags }, context) {
    const found = await findRelease(await context.kube(), {
      namespace: await context.namespace(),
      name: flags.name,
    });
    const records = releaseRecords(found);
    if (printStructured(context, flags.output, records)) return 0;
    if (records.length === 0)
      context.note(`Nothing has been decided about release "${found.metadata.name}" yet`);
    else context.out(recordsText(records));
    return 0;
  },
});

interface Order {
  verb: "promote" | "abort" | "pause" | "resume" | "retry";
  summary: string;
  /** What has to be true beside that somebody took the order, for it to be carried out. */
  isDone?: (status: CanaryConfig["status"]) => boolean;
  /** Why it makes no sense in this phase; nothing when it does. */
  refuse: (phase: CanaryPhase) => string | undefined;
}

const needsRunning = (phase: CanaryPhase): string | undefined =>
  hasEnded({ phase }) ? `it has ended already: ${phase}` : undefined;

/** The last weight was written to the route or alias. */
const hasSettled: Order["isDone"] = (status) =>
  hasEnded({ phase: status?.phase ?? "waiting" }) && status?.applied !== false;

const ORDERS: readonly Order[] = [
  {
    verb: "promote",
    summary: "Give the new version all traffic now",
    isDone: hasSettled,
    refuse: needsRunning,
  },
  {
    verb: "abort",
    summary: "Give the old version all traffic again now",
    isDone: hasSettled,
    refuse: needsRunning,
  },
  {
    verb: "pause",
    summary: "Keep the weight as it is until resume",
    isDone: (status) => status?.phase === "paused" || hasEnded({ phase: status?.phase ?? "waiting" }),
    refuse: needsRunning,
  },
  {
    verb: "resume",
    summary: "Go on after a pause",
    refuse: (phase) => (phase === "paused" ? undefined : `it is not paused: ${phase}`),
  },
  {
    verb: "retry",
    summary: "Begin again with the first step",
    refuse: (phase) => (wasTakenBack({ phase }) ? undefined : `it was not taken back: ${phase}`),
  },
];

/** Waits until the order was carried out. @throws {CliError} when nobody does it */
async function untilObeyed(
  context: CliContext,
  { verb, isDone = () => true }: Order,
  ref: { namespace: string; name: string },
  timeoutMs: number,
): Promise<CanaryConfig> {
  const kube = await context.kube();
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    context.signal.throwIfAborted();
    const canary = await kube.get(CANARY_CONFIGS, ref);
    const isTaken = canary.metadata.annotations?.[ANNOTATION_CANARY_COMMAND] !== verb;
    if (isTaken && isDone(canary.status)) return canary;
    if (performance.now() > deadline)
      throw new CliError(
        isTaken
          ? `Release "${ref.name}" is told to ${verb} and has not done it within ${timeoutMs / 1000} s: it is ${canary.status?.phase ?? "waiting"}`
          : `Nobody has obeyed \`${verb}\` of release "${ref.name}" within ${timeoutMs / 1000} s: see \`isotope status\` whether the controller runs`,
      );
    await pause(POLL_MS);
  }
}

const orderCommand = (order: Order): Command =>
  defineCommand({
    noun: "release",
    verb: order.verb,
    summary: order.summary,
    examples: [`isotope release ${order.verb} hello`],
    positionals: PLACE,
    flags: {
      name: NAME,
      timeout: { type: "duration", help: "How long to wait until it is obeyed", default: 60_000 },
    },
    async run({ flags }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const found = await findRelease(kube, { namespace, name: flags.name });
      const { name } = found.metadata;
      const problem = order.refuse(found.status?.phase ?? "waiting");
      if (problem) throw new CliError(`Cannot ${order.verb} release "${name}": ${problem}`);
      const ref = { namespace, name };
      await kube.patch(CANARY_CONFIGS, ref, {
        metadata: { annotations: { [ANNOTATION_CANARY_COMMAND]: order.verb } },
      });
      const { status: after } = await untilObeyed(context, order, ref, flags.timeout);
      context.out(
        `release "${name}" ${after?.phase ?? ""}, ${after?.new?.name ?? "new"} ${after?.weight ?? 0} %\n`,
      );
      return 0;
    },
  });

export const releaseCommands: readonly Command[] = [status, ...ORDERS.map(orderCommand), history];
