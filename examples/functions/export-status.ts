import type { FunctionConfig } from "@isotope/platform";

export const config = { route: false } satisfies FunctionConfig;

/** How far an export is that began at `startedAt` (ms since 1970) and takes `takesMs`: as a service would tell that cannot call back. */
export default async (request: Request): Promise<Response> => {
  const { startedAt, takesMs } = (await request.json()) as { startedAt: number; takesMs: number };
  const share = Math.min(1, (Date.now() - startedAt) / takesMs);
  return Response.json(
    share < 1
      ? { status: "running", percent: Math.floor(share * 100) }
      : { status: "done", url: `https://files.example/exports/${startedAt}.csv` },
  );
};
