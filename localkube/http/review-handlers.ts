import { createHash } from "node:crypto";
import { badRequest, invalidField, invalidObject } from "../api/api-error.ts";
import { isPlainObject, type PlainObject } from "../schema/plain-object.ts";
import { mediaType, parseBody, readBody } from "./body.ts";
import type { Exchange, User } from "./exchange.ts";
import { sendJson } from "./respond.ts";

/** Kinds that are answered at once and never stored, by group and plural. */
export const REVIEWS = [
  { group: "authentication.k8s.io", plural: "tokenreviews", kind: "TokenReview", namespaced: false },
  {
    group: "authentication.k8s.io",
    plural: "selfsubjectreviews",
    kind: "SelfSubjectReview",
    namespaced: false,
  },
  {
    group: "authorization.k8s.io",
    plural: "selfsubjectaccessreviews",
    kind: "SelfSubjectAccessReview",
    namespaced: false,
  },
  {
    group: "authorization.k8s.io",
    plural: "subjectaccessreviews",
    kind: "SubjectAccessReview",
    namespaced: false,
  },
  {
    group: "authorization.k8s.io",
    plural: "localsubjectaccessreviews",
    kind: "LocalSubjectAccessReview",
    namespaced: true,
  },
  {
    group: "authorization.k8s.io",
    plural: "selfsubjectrulesreviews",
    kind: "SelfSubjectRulesReview",
    namespaced: false,
  },
] as const;

export type Review = (typeof REVIEWS)[number];

const userInfo = (user: User): PlainObject => ({
  username: user.username,
  uid: createHash("sha256").update(user.username).digest("hex").slice(0, 32),
  groups: user.groups,
});

function statusOf(review: Review, spec: PlainObject, exchange: Exchange): PlainObject {
  switch (review.kind) {
    case "TokenReview": {
      const { token } = spec;
      if (typeof token !== "string" || token === "") {
        throw invalidObject(review, "", [invalidField("spec.token", token ?? "", "token must be specified")]);
      }
      return exchange.service.isToken(token)
        ? {
            authenticated: true,
            user: userInfo(exchange.user),
            audiences: spec.audiences ?? ["https://kubernetes.default.svc"],
          }
        : { authenticated: false, user: {}, error: "invalid bearer token" };
    }
    case "SelfSubjectReview":
      return { userInfo: userInfo(exchange.user) };
    case "SelfSubjectRulesReview":
      return {
        resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }],
        nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
        incomplete: false,
      };
    case "SelfSubjectAccessReview":
      return { allowed: true, reason: "system:masters may do everything" };
    default: {
      const groups: unknown[] = Array.isArray(spec.groups) ? spec.groups : [];
      const allowed =
        groups.includes("system:masters") ||
        spec.user === exchange.user.username ||
        readsOwnNamespace(spec.user, spec.resourceAttributes);
      return allowed ? { allowed } : { allowed, reason: "no policy allows this" };
    }
  }
}

const READING = new Set(["get", "list", "watch"]);
/** Core resources that the role `view` of Kubernetes leaves out: who reads them acts as somebody else. */
const NOT_IN_VIEW = new Set(["secrets"]);

/**
 * There are no roles here. A service account may read in its own namespace what the role `view` of Kubernetes shows, as if it were bound to that,
 * and nothing else: no Secret, nothing of another namespace, no change.
 */
function readsOwnNamespace(user: unknown, attributes: unknown): boolean {
  if (typeof user !== "string" || !isPlainObject(attributes)) return false;
  const { namespace, verb, group = "", resource } = attributes;
  const own = /^system:serviceaccount:([^:]+):[^:]+$/.exec(user)?.[1];
  if (own === undefined || own !== namespace) return false;
  if (typeof verb !== "string" || !READING.has(verb)) return false;
  // A `*` asks for every resource, or every group: for Secrets as well.
  if (typeof resource !== "string" || typeof group !== "string" || resource === "*" || group === "*")
    return false;
  return group !== "rbac.authorization.k8s.io" && !(group === "" && NOT_IN_VIEW.has(resource));
}

/** Answers POST on a review. */
export async function handleReview(exchange: Exchange, review: Review): Promise<void> {
  const body = await readBody(exchange.request);
  const { value } = parseBody(mediaType(exchange.request), body, false);
  if (!isPlainObject(value)) throw badRequest("the request body must be an object");
  const spec = isPlainObject(value.spec) ? value.spec : {};
  const status = statusOf(review, spec, exchange);
  sendJson(exchange.response, 201, {
    kind: review.kind,
    apiVersion: `${review.group}/v1`,
    metadata: { creationTimestamp: null },
    ...(review.kind.startsWith("SelfSubjectReview") ? {} : { spec }),
    status,
  });
}
