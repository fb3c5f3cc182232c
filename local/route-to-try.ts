import { readFileSync } from "node:fs";
import { request } from "node:https";

/** What is read of a route: fields of HTTPTrigger. */
export interface Route {
  readonly metadata?: { readonly name?: string };
  readonly spec?: {
    readonly relativeurl?: string;
    readonly prefix?: string | null;
    readonly host?: string;
    readonly method?: string;
    readonly methods?: readonly string[];
  };
  readonly status?: { readonly conditions?: readonly { readonly type?: string; readonly status?: string }[] };
}

const ROUTES = "/apis/fission.io/v1/namespaces/default/httptriggers";
const TIMEOUT_MS = 2_000;
/** The example that the tutorial begins with. */
const FIRST = "/hello";

/** The path of a route that answers a plain GET, as it stands if there is one, else with something in the places of its parameters; undefined when there is none. */
export function routeToTry(routes: readonly Route[]): string | undefined {
  const paths = routes
    .filter(({ spec = {}, status }) => {
      const methods = spec.methods?.length ? spec.methods : [spec.method || "GET"];
      const ready = status?.conditions?.find(({ type }) => type === "Ready")?.status;
      return methods.includes("GET") && !spec.host && ready === "True";
    })
    .map(({ spec }) => spec?.prefix || spec?.relativeurl || "")
    .filter((path) => path !== "")
    .toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const plain = paths.filter((path) => !path.includes("{"));
  if (plain.includes(FIRST)) return FIRST;
  return plain[0] ?? paths.find((path) => !path.includes(":"))?.replaceAll(/\{[^}]*\}/g, "you");
}

interface Kubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly "certificate-authority-data": string } },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

/** The routes of this platform; none when they cannot be had: what they are for is a hint. @param kubeconfig Path of localkube's own, which is JSON. */
export async function listRoutes(kubeconfig: string): Promise<readonly Route[]> {
  try {
    const config: Kubeconfig = JSON.parse(readFileSync(kubeconfig, "utf8"));
    const { cluster } = config.clusters[0];
    const list: { items?: Route[] } = JSON.parse(
      await get(new URL(`${ROUTES}?limit=500`, cluster.server), {
        ca: Buffer.from(cluster["certificate-authority-data"], "base64"),
        token: config.users[0].user.token,
      }),
    );
    return list.items ?? [];
  } catch {
    return [];
  }
}

const get = (url: URL, { ca, token }: { ca: Buffer; token: string }): Promise<string> =>
  new Promise((done, fail) => {
    const options = {
      ca,
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
      timeout: TIMEOUT_MS,
      agent: false,
    };
    const call = request(url, options, (reply) => {
      let text = "";
      reply.setEncoding("utf8");
      reply.on("data", (chunk: string) => (text += chunk));
      reply.once("end", () => done(text));
      reply.once("error", fail);
    });
    call.once("timeout", () => call.destroy(new Error("no answer in time")));
    call.once("error", fail);
    call.end();
  });
