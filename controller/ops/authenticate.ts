import { createHash } from "node:crypto";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import type { KubeClient } from "../../kube/client.ts";

/** Who calls, as the Kubernetes API knows the token. */
export interface Caller {
  readonly username: string;
  readonly groups: readonly string[];
}

/** What a caller wants to do, in the words of Kubernetes' RBAC. */
export interface Permission {
  readonly verb: "get" | "list" | "create" | "update" | "delete";
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  /** All namespaces when left out. */
  readonly namespace?: string | undefined;
}

export interface Authenticator {
  /** The owner of `Authorization: Bearer …`. @throws {PlatformError} unauthorized */
  authenticate(authorization: string | undefined): Promise<Caller>;
  /** @throws {PlatformError} forbidden */
  authorize(caller: Caller, permission: Permission): Promise<void>;
}

const TokenReview = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    user: z.object({ username: z.string().optional(), groups: z.array(z.string()).optional() }).optional(),
  }),
});
const AccessReview = z.object({ status: z.object({ allowed: z.boolean(), reason: z.string().optional() }) });

const ACCEPTED_MS = 10_000;
const REFUSED_MS = 1_000;
const MAX_REMEMBERED = 1_000;
const MAX_TOKEN = 16_384;

/**
 * Asks the Kubernetes API who a token belongs to and what its owner may do, and remembers the answers briefly. Tokens are kept as
 * digests only, and looked up by them: nothing compares a secret byte by byte.
 */
export function kubeAuthenticator(
  client: Pick<KubeClient, "request">,
  now: () => number = () => performance.now(),
): Authenticator {
  const callers = briefMemory<Caller | undefined>(now);
  const answers = briefMemory<string | undefined>(now);

  const review = async (token: string): Promise<Caller | undefined> => {
    const reply = await client.request({
      method: "POST",
      path: "/apis/authentication.k8s.io/v1/tokenreviews",
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } },
    });
    const { authenticated, user } = TokenReview.parse(reply).status;
    return authenticated && user?.username
      ? { username: user.username, groups: user.groups ?? [] }
      : undefined;
  };
  /** Nothing when allowed, else why not. */
  const access = async (caller: Caller, permission: Permission): Promise<string | undefined> => {
    const { namespace = "", ...attributes } = permission;
    const reply = await client.request({
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
      body: {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: {
          user: caller.username,
          groups: caller.groups,
          resourceAttributes: { namespace, ...attributes },
        },
      },
    });
    const { allowed, reason } = AccessReview.parse(reply).status;
    return allowed ? undefined : reason || "no rule allows it";
  };

  return {
    authenticate: async (authorization) => {
      const token = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
      if (token === "" || token.length > MAX_TOKEN) {
        throw new PlatformError(
          "unauthorized",
          'The call needs "Authorization: Bearer <token of the kubeconfig>"',
        );
      }
      const digest = createHash("sha256").update(token).digest("base64");
      const caller = await callers.get(
        digest,
        () => review(token),
        (found) => (found ? ACCEPTED_MS : REFUSED_MS),
      );
      if (!caller) throw new PlatformError("unauthorized", "The bearer token is wrong or expired");
      return caller;
    },
    authorize: async (caller, permission) => {
      const key = JSON.stringify([caller, permission]);
      const refused = await answers.get(
        key,
        () => access(caller, permission),
        (why) => (why ? REFUSED_MS : ACCEPTED_MS),
      );
      if (refused === undefined) return;
      const { verb, resource, subresource, namespace } = permission;
      const what = `${verb} ${resource}${subresource ? `/${subresource}` : ""}`;
      const where = namespace ? `in namespace "${namespace}"` : "in all namespaces";
      throw new PlatformError("forbidden", `User "${caller.username}" may not ${what} ${where}: ${refused}`);
    },
  };
}

/** Remembers answers for a time that depends on them; callers who ask for the same at once share one question. Failures are not kept. */
function briefMemory<T>(now: () => number) {
  interface Entry {
    answer: Promise<T>;
    untilMs: number;
  }
  const entries = new Map<string, Entry>();
  const settle = async (entry: Entry, keepMs: (answer: T) => number): Promise<void> => {
    entry.untilMs = now() + keepMs(await entry.answer);
  };
  return {
    get: (key: string, ask: () => Promise<T>, keepMs: (answer: T) => number): Promise<T> => {
      const known = entries.get(key);
      if (known && known.untilMs > now()) return known.answer;
      const entry: Entry = { answer: ask(), untilMs: Infinity };
      entries.delete(key);
      entries.set(key, entry);
      for (const oldest of entries.keys()) {
        if (entries.size <= MAX_REMEMBERED) break;
        entries.delete(oldest);
      }
      void settle(entry, keepMs).catch(() => {
        if (entries.get(key) === entry) entries.delete(key);
      });
      return entry.answer;
    },
  };
}
