import { z } from "zod";
import { text, withRules } from "./schema.ts";

const PRESERVE = { "x-kubernetes-preserve-unknown-fields": true };

const SecurityContext = withRules(
  z
    .looseObject({
      privileged: z.boolean().optional(),
      allowPrivilegeEscalation: z.boolean().optional(),
      capabilities: z
        .looseObject({ add: z.array(text(64)).max(64).optional() })
        .meta(PRESERVE)
        .optional(),
    })
    .meta(PRESERVE),
  [
    { rule: "!has(self.privileged) || !self.privileged", message: "privileged containers are not allowed" },
    {
      rule: "!has(self.allowPrivilegeEscalation) || !self.allowPrivilegeEscalation",
      message: "allowPrivilegeEscalation is not allowed",
    },
    {
      rule: "!has(self.capabilities) || !has(self.capabilities.add) || self.capabilities.add.all(c, c == 'NET_BIND_SERVICE')",
      message: "no capability but NET_BIND_SERVICE may be added",
    },
  ],
);

/** corev1.Container with the fields that are refused for safety spelled out; the rest passes through. */
export const Container = z
  .looseObject({
    name: text(63).optional(),
    image: text(1024).optional(),
    securityContext: SecurityContext.optional(),
  })
  .meta(PRESERVE);

/** corev1.PodSpec likewise. */
export const PodSpec = withRules(
  z
    .looseObject({
      hostNetwork: z.boolean().optional(),
      hostPID: z.boolean().optional(),
      hostIPC: z.boolean().optional(),
      serviceAccountName: text(253).optional(),
      serviceAccount: text(253).optional(),
      containers: z.array(Container).max(16).optional(),
      initContainers: z.array(Container).max(16).optional(),
      volumes: z
        .array(
          withRules(
            z
              .looseObject({
                name: text(63).optional(),
                hostPath: z.looseObject({}).meta(PRESERVE).optional(),
              })
              .meta(PRESERVE),
            [{ rule: "!has(self.hostPath)", message: "hostPath volumes are not allowed" }],
          ),
        )
        .max(64)
        .optional(),
    })
    .meta(PRESERVE),
  [
    { rule: "!has(self.hostNetwork) || !self.hostNetwork", message: "hostNetwork is not allowed" },
    { rule: "!has(self.hostPID) || !self.hostPID", message: "hostPID is not allowed" },
    { rule: "!has(self.hostIPC) || !self.hostIPC", message: "hostIPC is not allowed" },
    {
      rule: "(!has(self.serviceAccountName) || self.serviceAccountName == '') && (!has(self.serviceAccount) || self.serviceAccount == '')",
      message: "serviceAccountName is not allowed",
    },
  ],
);
export type PodSpec = z.infer<typeof PodSpec>;
