import { bytes, flagsOf, type SettingsOf, text } from "../../net/settings.ts";

const flag = flagsOf("DEFINITION_HOST");

/** Settings of the launcher of definition hosts. */
export const DEFINITION_HOST_SETTINGS = {
  socket: text({
    ...flag("socket", "Unix socket at which the workflow service asks for definition hosts"),
    fallback: "/run/isotope/definitions.sock",
  }),
  deno: text({
    ...flag("deno", "The deno program, which runs definitions' code"),
    fallback: "/usr/local/bin/deno",
  }),
  denoFolder: text({ ...flag("deno-folder", "Folder for deno's own files"), fallback: "/tmp/deno" }),
  memory: bytes({
    ...flag(
      "memory",
      "Memory that all definitions may take together; 0 = what the container's limit leaves beside this process",
    ),
    fallback: 0,
    min: 0,
    max: 2 ** 50,
  }),
};
export type DefinitionHostSettings = SettingsOf<typeof DEFINITION_HOST_SETTINGS>;
