import { createHash } from "node:crypto";
import {
  API_GROUP_VERSION,
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_ENVIRONMENT_UID,
  LABEL_FUNCTION_NAME,
  LABEL_FUNCTION_UID,
  LABEL_MANAGED_BY,
  LABEL_POD_STATE,
  LABEL_REVISION,
  MANAGED_BY,
} from "../../api/names.ts";
import type { KubeEnvironment, ReplicaSetManifest } from "./cluster.ts";
import {
  ANNOTATION_MADE_BY,
  COMPONENT,
  LABEL_TEMPLATE,
  type PodTemplate,
  withToken,
} from "./pod-manifest.ts";
import type { Revision } from "./revision.ts";

/** Name of a revision's ReplicaSet. A function that is made anew under the same name has another UID, so another ReplicaSet. */
export function replicaSetName({ identity, key }: Revision): string {
  const hash = createHash("sha256").update(key).digest("hex").slice(0, 10);
  return `${identity.name.slice(0, 40).replace(/-+$/, "")}-${hash}`;
}

/** What made a pod of the ReplicaSet, and what the token of its pods is derived from; no pod can have this name. */
export const replicaSetMaker = (replicaSet: string): string => `replicaset/${replicaSet}`;

/** Labels of pods that serve the revision; a ReplicaSet's selector is a part of them. */
export function servedLabels({ identity, serving }: Revision): Record<string, string> {
  return {
    [LABEL_POD_STATE]: "specialised",
    [LABEL_FUNCTION_NAME]: identity.name,
    [LABEL_FUNCTION_UID]: identity.uid,
    [LABEL_REVISION]: serving.revision,
  };
}

/** The ReplicaSet of a revision. `token` is what control calls to the pods that it makes must bear. */
export function replicaSetManifest(
  revision: Revision,
  environment: KubeEnvironment,
  template: PodTemplate,
  replicas: number,
  token: string,
): ReplicaSetManifest {
  const { identity, serving } = revision;
  const name = replicaSetName(revision);
  const common = {
    [LABEL_MANAGED_BY]: MANAGED_BY,
    [LABEL_COMPONENT]: COMPONENT,
    [LABEL_ENVIRONMENT]: environment.metadata.name,
    [LABEL_FUNCTION_NAME]: identity.name,
    [LABEL_FUNCTION_UID]: identity.uid,
    [LABEL_REVISION]: serving.revision,
  };
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name,
      namespace: identity.namespace,
      labels: common,
      ownerReferences: [
        {
          apiVersion: API_GROUP_VERSION,
          kind: "Function",
          name: identity.name,
          uid: identity.uid,
          controller: true,
        },
      ],
    },
    spec: {
      replicas,
      selector: {
        matchLabels: {
          [LABEL_COMPONENT]: COMPONENT,
          [LABEL_FUNCTION_UID]: identity.uid,
          [LABEL_REVISION]: serving.revision,
        },
      },
      template: {
        metadata: {
          labels: {
            ...common,
            [LABEL_ENVIRONMENT_UID]: environment.metadata.uid,
            [LABEL_POD_STATE]: "generic",
            [LABEL_TEMPLATE]: template.hash,
            ...template.labels,
          },
          annotations: { [ANNOTATION_MADE_BY]: replicaSetMaker(name) },
        },
        spec: { ...withToken(template.spec, token), restartPolicy: "Always" },
      },
    },
  };
}
