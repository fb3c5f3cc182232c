import {
  durationMs,
  FUNCTION_NAMESPACES_HELP,
  namespaceLabels,
  optionalText,
  type SettingsOf,
  text,
} from "../../net/settings.ts";

const flag = <F extends string>(name: F, help: string) => ({
  flag: name,
  env: `ISOTOPE_CLEANUP_${name.toUpperCase().replaceAll("-", "_")}`,
  help,
});

/** Settings of the cleanup. Environment variables: `ISOTOPE_CLEANUP_` and the flag in upper case with underscores. */
export const CLEANUP_SETTINGS = {
  kubeconfig: optionalText(
    flag("kubeconfig", "Kubeconfig file; default: $KUBECONFIG, service account, ~/.kube/config"),
  ),
  namespace: text({ ...flag("namespace", "Namespace that the platform was in"), fallback: "isotope" }),
  functionNamespaces: namespaceLabels(flag("function-namespaces", FUNCTION_NAMESPACES_HELP)),
  namespaceKit: text(flag("namespace-kit", "YAML file with the objects that every function namespace got")),
  timeoutMs: durationMs({
    ...flag("timeout", "Longest time until all pods are gone"),
    fallback: 90_000,
    minMs: 1_000,
    maxMs: 3_600_000,
  }),
};
export type CleanupSettings = SettingsOf<typeof CLEANUP_SETTINGS>;
