import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";

export interface LoadResult {
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
  /** Answers by status, as counted by the load generator. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Connections that failed, reads and writes that failed, requests without an answer in time. */
  readonly socketErrors: number;
  readonly seconds: number;
}

/** Counts statuses per thread, so that nothing is formatted while load runs. */
const SCRIPT = (headers: Readonly<Record<string, string>>): string => `
${Object.entries(headers)
  .map(([name, value]) => `wrk.headers["${name}"] = "${value}"`)
  .join("\n")}
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) counts = {} end
function response(status) counts[status] = (counts[status] or 0) + 1 end
function done(summary, latency)
  local all = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("counts")) do all[status] = (all[status] or 0) + count end
  end
  for status, count in pairs(all) do io.write("status " .. status .. " " .. count .. "\\n") end
  io.write(string.format("measured %d %d %d %d %d\\n", summary.duration, summary.requests, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
`;

/**
 * Runs wrk with one thread. `byStatus` counts statuses, which costs the generator time of its own, so that rates are measured without.
 * @throws {Error} that says how to install wrk when it is not there.
 */
export async function wrk(
  url: string,
  options: {
    connections: number;
    seconds: number;
    byStatus: boolean;
    scriptFile: string;
    headers?: Readonly<Record<string, string>>;
  },
): Promise<LoadResult> {
  const script = SCRIPT(options.headers ?? {});
  writeFileSync(options.scriptFile, options.byStatus ? script : script.replace(/^function response.*$/m, ""));
  const args = [
    "-t1",
    `-c${options.connections}`,
    `-d${options.seconds}s`,
    "--timeout",
    "10s",
    "-s",
    options.scriptFile,
    url,
  ];
  const child = spawn("wrk", args, { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  await new Promise<void>((resolve, reject) => {
    child.once("error", (error) =>
      reject(new Error(`Cannot run wrk: ${error.message}; install it (apt-get or brew install wrk)`)),
    );
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`wrk ended with ${code}`))));
  });
  const [micros = 0, requests = 0, p50 = 0, p99 = 0, socketErrors = 0] = (
    /^measured (.*)$/m.exec(out)?.[1] ?? ""
  )
    .split(" ")
    .map(Number);
  const statuses = Object.fromEntries(
    [...out.matchAll(/^status (\d+) (\d+)$/gm)].map(([, status = "", count]) => [status, Number(count)]),
  );
  const seconds = micros / 1e6;
  return {
    rps: requests / seconds,
    p50Ms: p50 / 1000,
    p99Ms: p99 / 1000,
    requests,
    statuses,
    socketErrors,
    seconds,
  };
}
