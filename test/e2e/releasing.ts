import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { CanaryDecision } from "../../api/kinds/index.ts";
import type { TestPlatform } from "./test-platform.ts";

/** Code that answers with its text, unless `extra` has answered. */
export const says = (text: string, route: string, extra = ""): string => `
export const config = { route: "${route}", requestsPerPod: 20 };
export default async (request: Request) => {
  ${extra}
  return new Response("${text}");
};`;

/** Runs a command that has to succeed; gives what it said. */
export async function isotope(platform: Pick<TestPlatform, "cli">, ...args: string[]): Promise<string> {
  const { code, out, err } = await platform.cli(args);
  if (code !== 0) throw new Error(`isotope ${args.join(" ")} ended with ${code}:\n${out}\n${err}`);
  return out;
}

/** Writes another state of a project's function, and deploys it. */
export async function redeploy(
  platform: TestPlatform,
  folder: string,
  name: string,
  code: string,
  ...args: string[]
): Promise<string> {
  writeFileSync(join(folder, "functions", `${name}.ts`), code);
  return isotope(platform, "deploy", folder, ...args);
}

/** What the newest release of a function decided, the oldest first. */
export async function decisionsOf(platform: TestPlatform, name: string): Promise<CanaryDecision[]> {
  const [newest] = z
    .array(z.object({ decisions: z.array(CanaryDecision) }))
    .parse(JSON.parse(await isotope(platform, "release", "history", name, "-o", "json")));
  return newest?.decisions ?? [];
}

export interface Load {
  /** Answers by what they said, or by status and text when they failed. */
  readonly answers: ReadonlyMap<string, number>;
  /** What no answer came to, and was sent again: connections that ended, closed ports. */
  readonly broken: ReadonlyMap<string, number>;
  stop(): Promise<ReadonlyMap<string, number>>;
}

const PAUSE_MS = 5;
const RETRY_MS = 50;

/**
 * Calls a path of every router over and over, `atOnce` at a time, until it is stopped. With `sendAgain`, for tests that kill routers, a request without
 * any answer is sent again; else it ends the load, which `stop` then throws.
 */
export async function startLoad(
  platform: TestPlatform,
  path: string,
  { atOnce = 4, sendAgain = false } = {},
): Promise<Load> {
  const routers = await platform.routers();
  const answers = new Map<string, number>();
  const broken = new Map<string, number>();
  const add = (to: Map<string, number>, key: string) => to.set(key, (to.get(key) ?? 0) + 1);
  const state = { running: true };
  const call = async (origin: string): Promise<void> => {
    try {
      const reply = await fetch(`${origin}${path}`);
      const said = await reply.text();
      add(answers, reply.status === 200 ? said : `${reply.status} ${said}`);
    } catch (error) {
      if (!sendAgain) throw error;
      add(broken, String(error instanceof Error && error.cause instanceof Error ? error.cause : error));
      await new Promise((go) => setTimeout(go, RETRY_MS));
    }
  };
  const worker = async (first: number): Promise<void> => {
    for (let at = first; state.running; at++) {
      await call(routers[at % routers.length] ?? "");
      await new Promise((go) => setTimeout(go, PAUSE_MS));
    }
  };
  const workers = Promise.all(Array.from({ length: atOnce }, (_, at) => worker(at)));
  // Told by `stop`; until then nobody listens.
  workers.catch(() => undefined);
  return {
    answers,
    broken,
    stop: async () => {
      state.running = false;
      await workers;
      return answers;
    },
  };
}
