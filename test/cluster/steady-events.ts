import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { deploy } from "../e2e/project.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";

/**
 * Asynchronous calls that are made all the time. What was answered 202 is delivered, whatever happens meanwhile: it ends well, with the answer to its own body.
 * What was refused or cut off is sent again under its dedup key, and is the same call.
 */
const ACCEPT_MS = 90_000;
const END_MS = 120_000;
const POLL_MS = 250;
/** Calls that wait to be accepted: further ones would be a load of their own. */
const MAX_PENDING = 8;

const FUNCTION = (route: string) => `
export const config = { route: "${route}", methods: ["POST"], requestsPerPod: 100, idleTimeout: 120 };
export default async (request) => {
  const { key, waitMs } = await request.json();
  await new Promise((done) => setTimeout(done, waitMs));
  return Response.json({ key });
};`;
const Seen = z.object({
  status: z.string(),
  tries: z.number(),
  result: z.object({ body: z.object({ text: z.string() }) }).optional(),
  lastError: z.unknown().optional(),
});

export interface EventsPace {
  readonly everyMs: number;
  /** How long the function takes. */
  readonly waitMs: number;
}

export interface EventsReport {
  readonly accepted: number;
  readonly sentAgain: number;
  /** Deliveries beyond the first. */
  readonly repeated: number;
  /** What is wrong, a line for each; none may be. */
  readonly faults: readonly string[];
}

/** Deploys the function and waits until it was called. */
export async function deploySteadyEvents(platform: TestPlatform): Promise<void> {
  await deploy(platform, { "steady-event.ts": FUNCTION(routeOf(platform)) });
  const key = `first-${platform.namespace}`;
  await end(platform, await accept(platform, key, 0));
}

/** Makes a call at each interval, until told to stop; then resolves when all have ended. */
export function startEvents(
  platform: TestPlatform,
  { everyMs, waitMs }: EventsPace,
): () => Promise<EventsReport> {
  const batch = `batch-${Date.now()}`;
  const calls: Promise<Accepted>[] = [];
  let pending = 0;
  const next = (): void => {
    if (pending >= MAX_PENDING) return;
    pending++;
    const one = accept(platform, `${batch}-${calls.length}`, waitMs);
    calls.push(one);
    const over = (): void => void pending--;
    one.then(over, over);
  };
  next();
  const timer = setInterval(next, everyMs);
  return async () => {
    clearInterval(timer);
    const settled = await Promise.allSettled(calls);
    const faults = settled.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
    const accepted = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    let repeated = 0;
    await Promise.all(
      accepted.map(async (call) => {
        try {
          const { status, tries, result, lastError } = await end(platform, call);
          repeated += Math.max(0, tries - 1);
          const text = result?.body.text;
          if (status !== "succeeded" || text !== JSON.stringify({ key: call.key }))
            faults.push(`${call.key}: ${status} ${text ?? ""} ${JSON.stringify(lastError)}`);
        } catch (error) {
          faults.push(`${call.key}: ${String(error)}`);
        }
      }),
    );
    const sentAgain = accepted.reduce((sum, call) => sum + call.sentAgain, 0);
    return { accepted: accepted.length, sentAgain, repeated, faults };
  };
}

const routeOf = ({ namespace }: TestPlatform): string => `/${namespace}/steady-event`;

interface Accepted {
  readonly key: string;
  readonly location: string;
  readonly sentAgain: number;
}

async function accept(platform: TestPlatform, key: string, waitMs: number): Promise<Accepted> {
  const deadline = performance.now() + ACCEPT_MS;
  for (let sentAgain = 0; ; sentAgain++) {
    const said = await answer(platform, routeOf(platform), {
      method: "POST",
      headers: { "x-fission-invoke-mode": "async", "x-fission-dedup-key": key },
      body: JSON.stringify({ key, waitMs }),
    });
    if (said.location !== undefined) return { key, location: said.location, sentAgain };
    if (performance.now() > deadline)
      throw new Error(`"${key}" was not accepted: ${said.status} ${said.text}`);
    await sleep(POLL_MS);
  }
}

async function end(
  platform: TestPlatform,
  { location }: Pick<Accepted, "location">,
): Promise<z.infer<typeof Seen>> {
  const deadline = performance.now() + END_MS;
  for (;;) {
    const { status, text } = await answer(platform, location);
    const seen = status === 200 ? Seen.parse(JSON.parse(text)) : undefined;
    if (seen && seen.status !== "queued" && seen.status !== "running") return seen;
    if (performance.now() > deadline) throw new Error(`it does not end: ${status} ${text.slice(0, 600)}`);
    await sleep(POLL_MS);
  }
}

/** What was answered; what broke is status 0. `location` of a call that was accepted. */
async function answer(
  platform: TestPlatform,
  path: string,
  init: RequestInit = {},
): Promise<{ status: number; text: string; location?: string }> {
  try {
    const reply = await platform.get(path, { ...init, signal: AbortSignal.timeout(30_000) });
    const text = await reply.text();
    const location = reply.status === 202 ? reply.headers.get("location") : null;
    return { status: reply.status, text, ...(location === null ? {} : { location }) };
  } catch (error) {
    return { status: 0, text: String(error) };
  }
}
