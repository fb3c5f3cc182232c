import { Agent, request } from "undici";
import { guardedLookup, isAllowedHost } from "./address-guard.ts";

export interface DownloadOptions {
  readonly maxBytes: number;
  /** Whole download, redirects included. */
  readonly timeoutMs: number;
  /** Host names or addresses that may be private, e.g. an artefact server in the cluster. */
  readonly allowedHosts: readonly string[];
  readonly signal?: AbortSignal;
}

/** A download that the user has to correct (`retry` false) or that may work later. */
export class DownloadError extends Error {
  readonly retry: boolean;
  constructor(message: string, retry: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "DownloadError";
    this.retry = retry;
  }
}

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Fetches an archive over http or https from the public internet. Every hop is checked: scheme, no credentials, and an address
 * that is public at the moment of connecting.
 * @throws {DownloadError}
 */
export async function downloadArchive(url: string, options: DownloadOptions): Promise<Buffer> {
  const allowedHosts = new Set(options.allowedHosts);
  const agent = new Agent({
    allowH2: false,
    connect: { timeout: 10_000, lookup: guardedLookup(allowedHosts) },
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
    maxResponseSize: options.maxBytes,
  });
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([timeout, options.signal]) : timeout;
  try {
    let target = checkedUrl(url, allowedHosts);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const reply = await request(target, {
        dispatcher: agent,
        signal,
        headers: { "user-agent": "isotope", accept: "*/*" },
      });
      const location = reply.headers["location"];
      if (!REDIRECTS.has(reply.statusCode)) return await readBody(reply, url, options.maxBytes);
      await reply.body.dump();
      if (typeof location !== "string") throw new DownloadError(`"${url}" redirects nowhere`, false);
      target = checkedUrl(new URL(location, target).href, allowedHosts);
    }
    throw new DownloadError(`"${url}" redirects more than ${MAX_REDIRECTS} times`, false);
  } catch (error) {
    if (error instanceof DownloadError) throw error;
    throw new DownloadError(`"${url}" cannot be fetched: ${reasonOf(error, timeout)}`, true, error);
  } finally {
    void agent.destroy();
  }
}

function checkedUrl(url: string, allowedHosts: ReadonlySet<string>): URL {
  if (!URL.canParse(url)) throw new DownloadError(`"${url}" is not a URL`, false);
  const parsed = new URL(url);
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:") {
    throw new DownloadError(`"${url}" must be an http or https URL, got "${parsed.protocol}"`, false);
  }
  if (parsed.username !== "" || parsed.password !== "") {
    throw new DownloadError(`The URL on host "${parsed.hostname}" must not hold credentials`, false);
  }
  if (!isAllowedHost(parsed.hostname, allowedHosts)) {
    throw new DownloadError(`"${url}" points to a private address, which packages may not fetch from`, false);
  }
  return parsed;
}

async function readBody(
  reply: Awaited<ReturnType<typeof request>>,
  url: string,
  maxBytes: number,
): Promise<Buffer> {
  if (reply.statusCode !== 200) {
    await reply.body.dump();
    const retry = reply.statusCode >= 500 || reply.statusCode === 429;
    throw new DownloadError(`"${url}" answered ${reply.statusCode}`, retry);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      reply.body.destroy();
      throw new DownloadError(`"${url}" is larger than ${maxBytes} bytes`, false);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function reasonOf(error: unknown, timeout: AbortSignal): string {
  if (timeout.aborted) return "it took too long";
  return error instanceof Error ? error.message : String(error);
}
