import { PlatformError } from "../../api/errors.ts";
import type { FunctionTable } from "./function-table.ts";
import type { RouteTarget } from "./route-compiler.ts";

/** The addresses of versions: `<version>.<namespace>.<domain>`, every path of which goes to that version. */
export interface PreviewHosts {
  /** Whether a host name (lower case, without port) lies under the domain. */
  claims(hostname: string): boolean;
  /** Where requests to such hosts go. */
  readonly target: RouteTarget;
}

/** @param domain lower case, without a leading dot; `""` = there are none */
export function previewHosts(
  domain: string,
  functions: Pick<FunctionTable, "versionNamed">,
): PreviewHosts | null {
  if (domain === "") return null;
  const suffix = `.${domain}`;
  return {
    claims: (hostname) => hostname.length > suffix.length && hostname.endsWith(suffix),
    target: {
      trigger: "",
      slot: null,
      choose: ({ hostname }) => {
        const labels = hostname.slice(0, -suffix.length);
        const dot = labels.lastIndexOf(".");
        const [version, namespace] = [labels.slice(0, Math.max(dot, 0)), labels.slice(dot + 1)];
        return (
          functions.versionNamed(namespace, version) ??
          new PlatformError(
            "version_not_found",
            `No version has the address "${hostname}": it would be <version>.<namespace>${suffix}`,
          )
        );
      },
      cutSegments: 0,
      wholePath: false,
      cors: null,
      workflow: null,
      async: false,
      paramPrefixes: null,
    },
  };
}
