import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { API_GROUP_VERSION } from "../../api/names.ts";
import type { KubeObject } from "../../kube/object.ts";
import { type ResourceType, resourceType } from "../../kube/resource.ts";

/** One object that every function namespace gets. */
export interface KitObject {
  readonly type: ResourceType;
  readonly name: string;
  /** Without a namespace; metadata, spec and the like as the chart wrote them. */
  readonly manifest: KubeObject & Readonly<Record<string, unknown>>;
}

/** What a kit may hold: the controller has rights for these kinds only. */
const KIT_TYPES: Readonly<Record<string, ResourceType>> = {
  "rbac.authorization.k8s.io/v1 RoleBinding": resourceType(
    "rbac.authorization.k8s.io/v1",
    "RoleBinding",
    "rolebindings",
  ),
  "networking.k8s.io/v1 NetworkPolicy": resourceType(
    "networking.k8s.io/v1",
    "NetworkPolicy",
    "networkpolicies",
  ),
  "v1 Secret": resourceType("v1", "Secret", "secrets"),
  [`${API_GROUP_VERSION} Environment`]: resourceType(API_GROUP_VERSION, "Environment", "environments"),
};

const Manifest = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string().min(1),
    namespace: z.undefined().optional(),
    annotations: z.record(z.string(), z.string()).optional(),
    labels: z.record(z.string(), z.string()).optional(),
  }),
});

/** Reads a kit: YAML documents in the order in which they are applied. Throws an error that names document and field. */
export function parseKit(text: string, where: string): KitObject[] {
  return parseAllDocuments(text).flatMap((document, index) => {
    const content: unknown = document.toJS();
    if (content === null || content === undefined) return [];
    const problem = (what: string): never => {
      throw new Error(`Cannot use namespace kit "${where}": document ${index + 1} ${what}`);
    };
    if (document.errors[0]) problem(document.errors[0].message);
    const parsed = Manifest.safeParse(content);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return problem(`has a wrong field "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "malformed"}`);
    }
    const { apiVersion, kind, metadata } = parsed.data;
    const type = KIT_TYPES[`${apiVersion} ${kind}`];
    if (!type) {
      return problem(
        `is a ${apiVersion} ${kind}: allowed are ${Object.values(KIT_TYPES)
          .map((known) => known.kind)
          .join(", ")}`,
      );
    }
    return [{ type, name: metadata.name, manifest: parsed.data }];
  });
}

export const readKit = (path: string): KitObject[] => parseKit(readFileSync(path, "utf8"), path);

/** On a NetworkPolicy of the kit: the addresses of the Kubernetes API are added to what its egress excepts. */
export const ANNOTATION_DENY_KUBERNETES = "isotope.dev/deny-kubernetes-api";

const IpBlock = z.looseObject({ cidr: z.string(), except: z.array(z.string()).optional() });
const Policy = z.looseObject({
  spec: z.looseObject({
    egress: z
      .array(z.looseObject({ to: z.array(z.looseObject({ ipBlock: IpBlock.optional() })).optional() }))
      .optional(),
  }),
});

/** The kit's object as it is to stand in a namespace. `kubernetes`: addresses of the Kubernetes API. Pure. */
export function kitManifest(object: KitObject, namespace: string, kubernetes: readonly string[]): KubeObject {
  const { manifest } = object;
  const placed = { ...manifest, metadata: { ...manifest.metadata, namespace } };
  if (manifest.metadata.annotations?.[ANNOTATION_DENY_KUBERNETES] !== "true" || kubernetes.length === 0)
    return placed;
  const policy = Policy.parse(placed);
  const egress = policy.spec.egress?.map((rule) =>
    rule.to ? { ...rule, to: rule.to.map((peer) => withExceptions(peer, kubernetes)) } : rule,
  );
  return { ...placed, spec: { ...policy.spec, ...(egress ? { egress } : {}) } } as KubeObject;
}

function withExceptions<P extends { ipBlock?: z.infer<typeof IpBlock> | undefined }>(
  peer: P,
  addresses: readonly string[],
): P {
  const block = peer.ipBlock;
  // Other blocks are what somebody allowed on purpose.
  if (block?.cidr !== "0.0.0.0/0" && block?.cidr !== "::/0") return peer;
  const isV6 = block.cidr === "::/0";
  const own = addresses
    .filter((address) => address.includes(":") === isV6)
    .map((address) => `${address}/${isV6 ? 128 : 32}`);
  return { ...peer, ipBlock: { ...block, except: [...new Set([...(block.except ?? []), ...own])] } };
}
