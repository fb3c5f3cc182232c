import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CliError, type Command, defineCommand } from "../command.ts";
import type { CliContext } from "../context.ts";
import { calledBy } from "../deploy/called-by.ts";
import { applyPlan, type DeployAccess, planProject } from "../deploy/deploy-project.ts";
import { findProject, type FoundFunction, type Project, sourcesOf } from "../deploy/find-functions.ts";
import { watchLive } from "../deploy/live.ts";
import { takenOver } from "../deploy/taken-over.ts";
import { type WaitOptions, waitForFunction, waitForWorkflow } from "../deploy/wait.ts";
import { foldersOf, watchFolders } from "../deploy/watch-files.ts";
import { formatLogLine } from "../log-lines.ts";
import { isColourful } from "../output.ts";
import { logLines } from "./fn/observe.ts";
import { startPlatform } from "./start.ts";

const READY_TIMEOUT_MS = 120_000;
const LOG_RETRY_MS = 500;

/** Deploys once and tells how each function fared. Resolves to the files that matter per function. */
async function deployOnce(
  project: Project,
  chosen: readonly FoundFunction[],
  access: DeployAccess,
  context: CliContext,
  savedAt: number,
): Promise<Map<string, string[]>> {
  const plan = await planProject(project, chosen, access);
  for (const line of takenOver(plan)) context.note(`! ${line}`);
  await applyPlan(plan, access, { prune: true });
  const routerUrl = context.routerUrl();
  const waits: WaitOptions = {
    timeoutMs: READY_TIMEOUT_MS,
    signal: context.signal,
    onLog: () => undefined,
  };
  const waiting = [
    ...plan.functions.map((planned) => ({
      ...planned,
      wait: () => waitForFunction(access.live, planned.prepared.objects, waits),
    })),
    ...plan.workflows.map((planned) => ({
      ...planned,
      wait: () => waitForWorkflow(access.live, planned.prepared.objects, waits),
    })),
  ];
  await Promise.all(
    waiting.map(async ({ prepared, actions, wait }) => {
      if (actions.every(({ action }) => action === "unchanged") && savedAt > 0) return;
      const progress = await wait();
      const routes = calledBy(prepared.objects, routerUrl).join("  ");
      const took = savedAt > 0 ? ` in ${Math.round(performance.now() - savedAt)} ms` : "";
      if (progress.state === "ready") context.out(`✓ ${prepared.name}${took}  ${routes}\n`);
      else
        context.note(
          `✗ ${prepared.name}: ${progress.state === "failed" ? progress.why : `waits for its ${progress.what}`}; the version before it still serves`,
        );
    }),
  );
  return new Map(waiting.map(({ prepared }) => [prepared.entry, prepared.watched]));
}

/** Shows the functions' log until the command ends. */
async function showLogs(context: CliContext, namespace: string): Promise<void> {
  const ops = await context.ops();
  let since = new Date().toISOString();
  while (!context.signal.aborted) {
    try {
      const reply = await ops.call("/v1/logs", {
        query: { namespace, follow: true, limit: 1000, since },
        signal: context.signal,
        bodyTimeoutMs: 0,
      });
      for await (const line of logLines(reply.body)) {
        since = line.time;
        if (line.function)
          context.out(
            `${formatLogLine(line, { detail: false, colour: isColourful(context), prefix: line.function })}\n`,
          );
      }
    } catch {
      // The platform restarts: try again.
    }
    await new Promise((done) => setTimeout(done, LOG_RETRY_MS));
  }
}

async function watchProject(target: string, access: DeployAccess, context: CliContext): Promise<void> {
  let project = findProject(target);
  const watched = new Map<string, string[]>();
  const folders = ["functions", "workflows"]
    .map((name) => join(target, name))
    .filter((path) => existsSync(path));
  const sourceFolders = folders.length > 0 ? folders : [target];
  let running: Promise<void> = Promise.resolve();
  const deployChanged = async (paths: ReadonlySet<string>, savedAt: number): Promise<void> => {
    try {
      const before = new Set(sourcesOf(project).map(({ entry }) => entry));
      project = findProject(target);
      const gone = [...before].some((entry) => !sourcesOf(project).some((found) => found.entry === entry));
      const affected = sourcesOf(project).filter(
        ({ entry, folder }) =>
          !before.has(entry) ||
          paths.has(entry) ||
          watched.get(entry)?.some((path) => paths.has(path)) ||
          [...paths].some((path) => folder !== undefined && path.startsWith(`${folder}/`)),
      );
      if (!gone && affected.length === 0) return;
      // When a function went away the whole project is looked at, so that what is left over is deleted.
      for (const [entry, files] of await deployOnce(
        project,
        gone ? sourcesOf(project) : affected,
        access,
        context,
        savedAt,
      ))
        watched.set(entry, files);
    } catch (error) {
      context.note(`✗ ${error instanceof Error ? error.message : String(error)}`);
    }
    files.update(watchedFolders());
  };
  const watchedFolders = (): Set<string> =>
    new Set([
      ...sourceFolders,
      ...sourcesOf(project).flatMap(({ folder }) => (folder ? [folder] : [])),
      ...foldersOf([...watched.values()].flat()),
    ]);
  const files = watchFolders((paths) => {
    const savedAt = performance.now();
    running = running.then(() => deployChanged(paths, savedAt));
  });
  // From before the first deployment on: what is saved while it goes on is deployed after it.
  files.update(watchedFolders());
  const first = deployOnce(project, sourcesOf(project), access, context, 0);
  running = first.then(
    () => undefined,
    () => undefined,
  );
  try {
    for (const [entry, paths] of await first) watched.set(entry, paths);
  } catch (error) {
    files.close();
    throw error;
  }
  files.update(watchedFolders());
  context.note("Watching for changes; Ctrl-C ends");
  await new Promise<void>((done) => context.signal.addEventListener("abort", () => done(), { once: true }));
  files.close();
  await running;
}

export const dev: Command = defineCommand({
  noun: "",
  verb: "dev",
  summary: "Run the functions of a folder and follow every change",
  description:
    "Starts a platform in <dir>/.isotope if none runs, deploys the functions, deploys them again whenever a file is saved, and shows their log.",
  examples: ["isotope dev", "isotope dev ./shop --port-base 9000"],
  positionals: [{ name: "dir", help: "Folder; default: this folder" }],
  flags: {
    "port-base": {
      type: "integer",
      help: "First port of a platform that is started; default 8888",
      min: 1024,
      max: 65_520,
    },
  },
  async run({ flags, positionals }, given) {
    const target = resolve(given.cwd, positionals[0] ?? ".");
    findProject(target);
    let context = given;
    let stop: (() => Promise<void>) | undefined;
    if (!given.clusterChosen && !given.platform()) {
      given.note("Starting the platform");
      const home = resolve(
        given.cwd,
        given.home ??
          join(
            ["functions", "workflows"].some((name) => existsSync(join(target, name)))
              ? target
              : dirname(target),
            ".isotope",
          ),
      );
      const started = await startPlatform(
        home,
        flags["port-base"] === undefined ? [] : ["--port-base", String(flags["port-base"])],
        given,
      );
      stop = () => started.stop();
      context = given.withHome(home);
      given.note(`Isotope runs at ${started.connection.routerUrl}`);
    }
    try {
      const [kube, namespace, ops] = [await context.kube(), await context.namespace(), await context.ops()];
      const live = await watchLive(kube, namespace);
      const project = findProject(target);
      const logs = showLogs(context, namespace);
      await watchProject(
        target,
        { kube, ops, live, target: { namespace, deployment: project.name } },
        context,
      );
      await live.stop();
      await Promise.race([logs, new Promise((done) => setTimeout(done, LOG_RETRY_MS))]);
      return 0;
    } catch (error) {
      if (context.signal.aborted) return 0;
      throw error instanceof Error ? error : new CliError(String(error));
    } finally {
      await stop?.();
    }
  },
});
